// Tests of the links of an adapter.
import { strict as assert } from 'node:assert'
import type { AdapterTest, MakeSubject } from './subject.ts'
import { faultsOf, Recorder, recorders, testOf, until } from './support.ts'

/** Topics with characters that an engine may treat specially. */
const ODD = ['room:*', 'room:a b', 'room:{x}', 'user:é😀', 'room:a:b', 'room:[a-z]?', 'room:\n']

/** Returns the tests of the links of an adapter. */
export function linkTests(make: MakeSubject): AdapterTest[] {
  return [
    testOf(make, 'a payload with any bytes arrives unchanged', async (subject, after) => {
      const [one, other] = await recorders(subject, after, 2)
      const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
      const large = Buffer.alloc(1024 * 1024, every)
      for (const payload of [Buffer.from('x'), every, large]) {
        await one.link.publish(['all'], payload)
        await until('the payload arrives', () =>
          other.payloads.some((came) => came.equals(payload)),
        )
      }
    }),

    testOf(make, 'payloads of a topic arrive in the order of the calls', async (subject, after) => {
      const [one, other, third] = await recorders(subject, after, 3)
      await other.link.subscribe(['room:a', 'room:b'])
      const sent: string[] = []
      const settled: Promise<unknown>[] = []
      for (let i = 0; i < 2_000; i++) {
        const topics = [['all'], ['room:a'], ['room:b'], ['room:a', 'room:b']][i % 4] as string[]
        sent.push(`${i} ${topics}`)
        settled.push(one.publish(topics, `${i} ${topics}`))
        if (i % 50 === 0) await new Promise(setImmediate)
      }
      await Promise.all(settled)
      await until('all payloads have arrived', () => other.distinct.length === sent.length)
      for (const topic of ['all', 'room:a', 'room:b']) {
        const ofTopic = (text: string): boolean => text.split(/[ ,]/).includes(topic)
        assert.deepEqual(other.distinct.filter(ofTopic), sent.filter(ofTopic), topic)
      }
      await until('all payloads have arrived', () => third.distinct.length === sent.length / 4)
    }),

    testOf(
      make,
      'only subscribed topics arrive, matched by their exact names',
      async (subject, after) => {
        const [one, other] = await recorders(subject, after, 2)
        await other.link.subscribe(ODD)
        for (const name of [...ODD, 'room:', 'room', 'room:ab', 'room:x', 'user:e']) {
          await one.publish([name], name)
        }
        await one.publish(['all'], 'end')
        await until('the last payload has arrived', () => other.texts.includes('end'))
        assert.deepEqual(other.distinct, [...ODD, 'end'])
        const long = `room:${'é'.repeat(127)}`
        await other.link.subscribe([long])
        await one.publish([long], 'long')
        await until('a long name works', () => other.texts.includes('long'))
      },
    ),

    testOf(
      make,
      'a payload arrives with the topic on which it was published, or without a topic',
      async (subject, after) => {
        const [one, other] = await recorders(subject, after, 2)
        await other.link.subscribe(ODD)
        for (const name of ODD) await one.publish([name], name)
        await one.publish(ODD, 'several')
        await one.publish(['all', 'room:unheard'], 'all')
        await until('the last payload has arrived', () => other.texts.includes('all'))
        const given = other.topics.filter((topic) => topic !== undefined)
        if (given.length === 0) return
        assert.equal(
          given.length,
          other.topics.length,
          'all payloads have a topic, or no payload has one',
        )
        other.texts.forEach((text, i) => {
          const topic = other.topics[i] as string
          if (text === 'several') assert.ok(ODD.includes(topic), `published on ${topic}`)
          else assert.equal(topic, text)
        })
        const several = other.topics.filter((_, i) => other.texts[i] === 'several')
        assert.deepEqual([...new Set(several)].sort(), [...ODD].sort(), 'once for each topic')
      },
    ),

    testOf(
      make,
      'a topic can be unsubscribed and subscribed again at once',
      async (subject, after) => {
        const [one, other] = await recorders(subject, after, 2)
        await other.link.subscribe(['room:a'])
        for (let i = 0; i < 50; i++) {
          other.link.unsubscribe(['room:a'])
          const again = other.link.subscribe(['room:a'])
          if (i % 2 === 0) await again
          else await Promise.all([again, new Promise(setImmediate)])
          await one.publish(['room:a'], String(i))
          await until('the payload arrives', () => other.texts.includes(String(i)))
        }
        other.link.unsubscribe(['room:a'])
        await until('no payload arrives any more', async () => {
          const before = other.texts.length
          await one.publish(['room:a'], 'late')
          await one.publish(['all'], `end ${before}`)
          await until('the last payload has arrived', () => other.texts.includes(`end ${before}`))
          return other.texts.length === before + 1
        })
      },
    ),

    testOf(
      make,
      'a closed link calls no more events, and can be closed again',
      async (subject, after) => {
        const [one, other] = await recorders(subject, after, 2)
        const late = new Recorder(subject.adapter())
        await late.link.close()
        await other.link.close()
        const before = [other.payloads.length, other.events.length, late.events.length]
        await one.publish(['all'], 'x')
        await one.publish(['all'], 'y')
        await new Promise((resolve) => setTimeout(resolve, 50))
        assert.deepEqual([other.payloads.length, other.events.length, late.events.length], before)
        await other.link.close()
      },
    ),

    testOf(
      make,
      'every link notices an outage and its end',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one, other] = await recorders(subject, after, 2)
        await other.link.subscribe(['room:a'])
        await cut()
        await until('down', () => !one.isUp && !other.isUp)
        other.link.subscribe(['room:b']).catch(() => {})
        other.link.unsubscribe(['room:a'])
        const born = new Recorder(subject.adapter())
        after(() => born.link.close())
        await heal()
        await until('up', () => one.isUp && other.isUp && born.isUp)
        for (const { events } of [one, other]) {
          events.forEach((event, i) => {
            assert.equal(event, i % 2 === 0 ? 'up' : 'down', 'up and down take turns')
          })
        }
        await one.publish(['room:a'], 'a')
        await one.publish(['room:b'], 'b')
        await one.publish(['all'], 'end')
        await until('the last payload has arrived', () => other.texts.includes('end'))
        assert.deepEqual(other.distinct, ['b', 'end'])
      },
      ['cut'],
    ),
  ]
}
