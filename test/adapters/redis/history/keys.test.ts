import { expect } from 'chai'
import {
  logOfTopic,
  namesOf,
  slotOf,
  topicOfLog,
} from '../../../../lib/adapters/redis/history/keys.ts'
import { checkPrefix } from '../../../../lib/adapters/redis/prefix.ts'
import { needs } from '../../../support/programs.ts'
import { startRedis, stopRedis } from '../../../support/redis.ts'

const NAMES = ['a', 'e}f', '{g', 'h{i}', '{}', '}{', 'é😀', 'a b\n', '']
const PREFIXES = ['koaws:', 'a{b}:', 'a{', 'a}', '{{}', '{x}{}', '{a}']

describe('the keys of a log', () => {
  needs('redis-server')
  after(stopRedis)

  it('are in one slot, for every allowed prefix and every name, as Redis computes it', async () => {
    const node = await startRedis(['cluster-enabled yes'])
    for (const prefix of PREFIXES) {
      expect(checkPrefix(prefix)).to.equal(null)
      for (const name of NAMES) {
        const { meta, list } = namesOf(prefix, `room:${name}`)
        const slots = await Promise.all(
          [meta, list].map((key) => node.command('cluster', 'keyslot', key)),
        )
        expect(slots, prefix + name).to.deep.equal([`:${slotOf(meta)}\r\n`, `:${slotOf(meta)}\r\n`])
      }
    }
    for (const key of ['', 'foo', '{}', 'a{}b', '{user}.x', '123456789', 'a{b']) {
      expect(await node.command('cluster', 'keyslot', key)).to.equal(`:${slotOf(key)}\r\n`)
    }
    // The prefix that is refused.
    const { meta, list } = namesOf('{}', 'room:a')
    expect(slotOf(meta)).to.not.equal(slotOf(list))
  })

  it('differ for each log, and the topic has its name', () => {
    const all = NAMES.flatMap((name) => Object.values(namesOf('p:', `room:${name}`)))
    expect(new Set(all).size).to.equal(all.length)
    for (const name of NAMES)
      expect(logOfTopic(topicOfLog(`user:${name}`))).to.equal(`user:${name}`)
    for (const topic of ['all', 'instance:log:', 'room:log:x', '']) {
      expect(logOfTopic(topic)).to.equal(null)
    }
    expect(namesOf('p:', 'room:a').channel).to.equal(`p:${topicOfLog('room:a')}`)
  })
})
