import { strict as assert } from 'node:assert'
import type { Adapter, AdapterLink } from '../../backplane/adapter.ts'
import { newId } from '../../connection/id.ts'
import type { AdapterFault, AdapterSubject, AdapterTest, MakeSubject } from './subject.ts'

/** How long something may take, in milliseconds. */
const PATIENCE = 12_000
/** How often it is looked at. */
const STEP = 5

/** A test whose subject is closed, and whose own things are undone, however it ends. */
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

/** The faults of an engine that a test needs. @throws AssertionError where the subject has none */
export function faultsOf({
  cut,
  heal,
  inject,
}: AdapterSubject): Required<Pick<AdapterSubject, 'cut' | 'heal' | 'inject'>> {
  const missing = (name: string) => (): never =>
    assert.fail(`the subject has no ${name}(): give it, or leave the tests out with "without"`)
  return {
    cut: cut ?? missing('cut'),
    heal: heal ?? missing('heal'),
    inject: inject ?? missing('inject'),
  }
}

/** Wait until a condition holds. @throws AssertionError when it does not in time */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `${what}: not within ${PATIENCE} ms`)
    await new Promise((resolve) => setTimeout(resolve, STEP))
  }
}

/** A link, and all that it told. */
export class Recorder {
  readonly id: string = newId()
  readonly payloads: Buffer[] = []
  readonly events: ('up' | 'down')[] = []
  readonly link: AdapterLink

  constructor(adapter: Adapter) {
    this.link = adapter.connect(this.id, {
      received: (payload) => this.payloads.push(payload),
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

  /** @param text says what it holds; payloads of different calls differ */
  publish(topics: readonly string[], text: string): Promise<unknown> {
    return this.link.publish(topics, Buffer.from(text))
  }
}

/** Some links that are up and have subscribed `all`. */
export async function recorders(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: number,
): Promise<Recorder[]> {
  const all = Array.from({ length: count }, () => new Recorder(subject.adapter()))
  for (const one of all) {
    after(() => one.link.close())
    one.link.subscribe(['all']).catch(() => {}) // subscribed by the time it is up
  }
  await until('every link is up', () => all.every((one) => one.isUp))
  await Promise.all(all.map((one) => one.link.subscribe(['all'])))
  return all
}
