import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { closeMesh, meshFolder, pause, until } from '../support/mesh.ts'
import { endProcesses, start } from '../support/process.ts'

type Role = 'owner' | 'replica' | 'none'

/** The history of an instance in a separate process, and what it has reported. */
class HistoryProcess {
  readonly child: ChildProcess
  readonly name: string
  /** Texts by offset. */
  readonly acknowledged = new Map<number, string>()
  readonly recorded = new Map<number, string>()
  readonly epochs = new Set<string>()
  readonly failed: string[] = []
  readonly states: string[] = []
  role: Role | null = null
  log: [offset: number, text: string][] | null = null
  stopped: number | null = null
  follows = false

  constructor(name: string) {
    this.name = name
    this.child = start('./history-child.ts', [name, meshFolder()])
    this.child.on('message', ([event, ...about]: [string, ...unknown[]]) => {
      const [first, second, third] = about
      if (event === 'acknowledged' || event === 'recorded') {
        this.epochs.add(first as string)
        this[event].set(second as number, third as string)
      } else if (event === 'role') this.role = first as Role
      else if (event === 'log') this.log = second as [number, string][]
      else if (event === 'stopped') this.stopped = first as number
      else if (event === 'failed') this.failed.push(String(about))
      else if (event === 'follows') this.follows = true
      else this.states.push(event)
    })
  }

  tell(command: string): void {
    this.child.send(command)
  }

  async enter(): Promise<void> {
    await until(`${this.name} is up`, () => this.states.includes('up'))
    this.tell('follow')
    await until(`${this.name} follows`, () => this.follows)
    this.tell('begin')
  }

  async currentRole(): Promise<Role> {
    this.role = null
    this.tell('role')
    await until('it says its role', () => this.role !== null)
    return this.role ?? 'none'
  }

  async kill(): Promise<void> {
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
  }

  async close(): Promise<void> {
    const exit = once(this.child, 'exit')
    this.tell('close')
    await exit
  }
}

describe('the history of several processes', function () {
  this.timeout(120_000)
  let all: HistoryProcess[] = []

  afterEach(async () => {
    await endProcesses()
    await closeMesh()
    all = []
  })

  async function open(...names: string[]): Promise<HistoryProcess[]> {
    const opened = names.map((name) => new HistoryProcess(name))
    all.push(...opened)
    await Promise.all(opened.map((one) => one.enter()))
    return opened
  }

  /** Waits until one process owns the log and another one is its replica. */
  async function settled(living: HistoryProcess[]): Promise<Record<Role, HistoryProcess[]>> {
    for (;;) {
      const found: Record<Role, HistoryProcess[]> = { owner: [], replica: [], none: [] }
      for (const one of living) found[await one.currentRole()].push(one)
      if (found.owner.length === 1 && found.replica.length === 1) return found
      await pause(10)
    }
  }

  async function goesOn(living: HistoryProcess[]): Promise<void> {
    const before = living.map(({ acknowledged }) => acknowledged.size)
    await until('entries are recorded', () =>
      living.every(({ acknowledged }, i) => acknowledged.size >= (before[i] ?? 0) + 50),
    )
  }

  /** Stops the living ones, and checks that the log has all acknowledged entries, once and in order. */
  async function check(living: HistoryProcess[]): Promise<void> {
    for (const one of living) one.tell('stop')
    await until('all are recorded', () =>
      living.every(({ stopped, acknowledged }) => acknowledged.size === stopped),
    )
    for (const one of living) one.tell('read')
    await until('all have read', () => living.every(({ log }) => log !== null))
    const log = living[0]?.log ?? []
    for (const one of living) expect(one.log).to.deep.equal(log)
    expect(new Set(all.flatMap(({ epochs }) => [...epochs]))).to.have.length(1)
    expect(log.map(([offset]) => offset)).to.deep.equal(log.map((_, i) => i + 1))
    expect(new Set(log.map(([, text]) => text))).to.have.length(log.length)
    const texts = new Map(log)
    for (const { name, acknowledged, recorded, failed } of all) {
      expect(failed).to.deep.equal([])
      for (const [offset, text] of [...acknowledged, ...recorded]) {
        expect(texts.get(offset), `offset ${offset} of ${name}`).to.equal(text)
      }
      const own = log.filter(([, text]) => text.startsWith(`${name} `))
      expect(own.map(([, text]) => text)).to.deep.equal(own.map((_, i) => `${name} ${i + 1}`))
    }
  }

  for (const role of ['owner', 'replica'] as const) {
    it(`keeps every acknowledged entry when the ${role} is killed`, async () => {
      await open('a', 'b', 'c')
      await goesOn(all)
      const victim = (await settled(all))[role][0] as HistoryProcess
      await victim.kill()
      const living = all.filter((one) => one !== victim)
      await goesOn(living)
      await settled(living)
      // An instance can follow the new owner before it notices the end of the other one.
      await until('all tell of the outage', () => living.every(({ states }) => states.length > 2))
      for (const { states } of living) expect(states).to.deep.equal(['up', 'down', 'up'])
      await check(living)
    })
  }

  it('keeps every entry when the owner leaves, and says nothing of an outage', async () => {
    await open('a', 'b', 'c')
    await goesOn(all)
    const leaving = (await settled(all)).owner[0] as HistoryProcess
    leaving.tell('stop')
    await until('it has nothing to record', () => leaving.acknowledged.size === leaving.stopped)
    await leaving.close()
    const living = all.filter((one) => one !== leaving)
    await goesOn(living)
    await settled(living)
    for (const { states } of living) expect(states).to.deep.equal(['up'])
    await check(living)
    // Each follower got each entry since it follows: a leave loses none on the way.
    for (const { recorded } of living) {
      // Those of the former owner may come later than the first of the next one.
      const offsets = [...recorded.keys()].toSorted((a, b) => a - b)
      expect(offsets).to.deep.equal(offsets.map((_, i) => (offsets[0] ?? 0) + i))
    }
  })

  it('keeps every entry when all processes are replaced, by leaving and by kills', async () => {
    let living = await open('a', 'b', 'c')
    for (const [i, name] of ['d', 'e', 'f', 'g'].entries()) {
      await goesOn(living)
      await settled(living)
      const [fresh] = (await open(name)) as [HistoryProcess]
      const [old, ...rest] = living as [HistoryProcess, ...HistoryProcess[]]
      living = [...rest, fresh]
      if (i % 2 === 0) await old.kill()
      else {
        old.tell('stop')
        await until('it has nothing to record', () => old.acknowledged.size === old.stopped)
        await old.close()
      }
    }
    await goesOn(living)
    await check(living)
  })

  it('waits for an owner that stands still, and takes over only after its end', async () => {
    await open('a', 'b', 'c')
    await goesOn(all)
    const { owner, replica, none } = await settled(all)
    const [stopped] = owner as [HistoryProcess]
    const others = [...replica, ...none]
    stopped.child.kill('SIGSTOP')
    // What was under way arrives; then nothing more is recorded.
    let last = -1
    const count = (): number => others.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0)
    while (last !== count()) {
      last = count()
      await pause(300)
    }
    for (const one of others) expect(await one.currentRole()).to.not.equal('owner')
    stopped.child.kill('SIGCONT')
    await goesOn(all)
    await check(all)
  })
})
