// Helpers of the adapter tests.
import { strict as assert } from 'node:assert'
import type { Adapter, AdapterLink } from '../../backplane/adapter.ts'
import { newId } from '../../connection/id.ts'
import type { AdapterFault, AdapterSubject, AdapterTest, MakeSubject } from './subject.ts'

/** The time limit of a step, in milliseconds. */
const PATIENCE = 12_000
/** The polling interval, in milliseconds. */
const STEP = 5

/** Returns a test that closes its subject and releases its resources, even when it fails. */
export function testOf(
  make: MakeSubject,
  name: string,
  body: (subject: AdapterSubject, after: (undo: () => unknown) => void) => Promise<void>,
  needs: readonly AdapterFault[] = [],
): AdapterTest {
  const run = async (): Promise<void> => {
    const subject = await make()
    const undone: (() => unknown)[] = []
    try {
      await body(subject, (undo) => undone.push(undo))
    } finally {
      for (const undo of undone.reverse()) await undo()
      await subject.close?.()
    }
  }
  return { name, needs, run }
}

/**
 * Returns the faults that a test needs.
 *
 * @throws AssertionError when the subject has none
 */
export function faultsOf({
  cut,
  heal,
  inject,
}: AdapterSubject): Required<Pick<AdapterSubject, 'cut' | 'heal' | 'inject'>> {
  const missing = (name: string) => (): never =>
    assert.fail(`the subject has no ${name}(): add it, or exclude these tests with "without"`)
  return {
    cut: cut ?? missing('cut'),
    heal: heal ?? missing('heal'),
    inject: inject ?? missing('inject'),
  }
}

/**
 * Waits until a condition holds.
 *
 * @throws AssertionError after the time limit
 */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `${what}: not within ${PATIENCE} ms`)
    await new Promise((resolve) => setTimeout(resolve, STEP))
  }
}

/** A link that records its payloads and events. */
export class Recorder {
  readonly id: string = newId()
  readonly payloads: Buffer[] = []
  /** The topics that the payloads arrived with. */
  readonly topics: (string | undefined)[] = []
  readonly events: ('up' | 'down')[] = []
  readonly link: AdapterLink

  constructor(adapter: Adapter) {
    this.link = adapter.connect(this.id, {
      received: (payload, topic) => {
        this.payloads.push(payload)
        this.topics.push(topic)
      },
      up: () => this.events.push('up'),
      down: () => this.events.push('down'),
      gone: () => {},
    })
    assert.deepEqual(this.events, [], 'connect() called an event before it returned')
  }

  get isUp(): boolean {
    return this.events.at(-1) === 'up'
  }

  get texts(): string[] {
    return this.payloads.map(String)
  }

  /** The payloads without repetitions, which an adapter is allowed. */
  get distinct(): string[] {
    return [...new Set(this.texts)]
  }

  /**
   * Publishes a text.
   *
   * @param text the payload; each call needs another text
   */
  publish(topics: readonly string[], text: string): Promise<unknown> {
    return this.link.publish(topics, Buffer.from(text))
  }
}

/** Returns links that are up and have subscribed to `all`. */
export function recorders(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 2,
): Promise<[Recorder, Recorder]>
export function recorders(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 3,
): Promise<[Recorder, Recorder, Recorder]>
export async function recorders(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: number,
): Promise<Recorder[]> {
  const all = Array.from({ length: count }, () => new Recorder(subject.adapter()))
  for (const one of all) {
    after(() => one.link.close())
    one.link.subscribe(['all']).catch(() => {}) // the subscription holds when the link is up
  }
  await until('every link is up', () => all.every((one) => one.isUp))
  await Promise.all(all.map((one) => one.link.subscribe(['all'])))
  return all
}
