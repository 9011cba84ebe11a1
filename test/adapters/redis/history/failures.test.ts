import { expect } from 'chai'
import { ErrorReply } from 'redis'
import {
  endedBy,
  reasonOf,
  refusal,
  unknownOutcome,
} from '../../../../lib/adapters/redis/history/failures.ts'

describe('an error in the history', () => {
  it('ends the call, the history, or the connections of the link', () => {
    for (const [text, what] of [
      ["OOM command not allowed when used memory > 'maxmemory'.", 'call'],
      ['WRONGTYPE Operation against a key holding the wrong kind of value', 'call'],
      ['NOSCRIPT No matching script.', 'history'],
      ['NOPERM no', 'history'],
      ["ERR The user executing the script can't run this command or subcommand", 'history'],
      ['MISCONF Redis is configured to save RDB snapshots', 'history'],
      ['NOREPLICAS Not enough good replicas to write.', 'history'],
      ['MOVED 1 127.0.0.1:1', 'history'],
      ['CLUSTERDOWN The cluster is down', 'history'],
      ["READONLY You can't write against a read only replica.", 'link'],
      ['LOADING Redis is loading the dataset in memory', 'link'],
    ]) {
      expect(endedBy(new ErrorReply(text as string)), text).to.equal(what)
    }
    expect(endedBy(new Error('NOPERM'))).to.equal('link')
    expect(endedBy(refusal('why', new ErrorReply('NOPERM no')))).to.equal('history')
  })

  it('of a node of a cluster says which client to use', () => {
    const moved = new ErrorReply('MOVED 1 127.0.0.1:1')
    expect(reasonOf(moved, false).message).to.match(/cluster client: MOVED/)
    expect(reasonOf(moved, true).message).to.equal('Redis: MOVED 1 127.0.0.1:1')
  })

  it('does not look like a refusal when the outcome is unknown', () => {
    expect(unknownOutcome(refusal('why'))).to.include({
      code: 'ERR_KOAWS_BACKPLANE',
      message: 'why',
    })
  })
})
