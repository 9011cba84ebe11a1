import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Adapter } from '../../lib/backplane/adapter.ts'
import { Backplane } from '../../lib/backplane/backplane.ts'
import type { Served } from '../../lib/backplane/channels.ts'
import type { BackplaneHost } from '../../lib/backplane/host.ts'
import type { Loss, Order, PublishResult } from '../../lib/backplane/order.ts'
import { Frame } from '../../lib/connection/frame.ts'
import { newId } from '../../lib/connection/id.ts'
import { LossEvidence, MARGIN } from './model-losses.ts'
import { mulberry32 } from './order.ts'
import { turn } from './server.ts'

/** The engine that a model runs over. */
export interface ModelEngine {
  readonly name: string
  /** Returns the adapter of one instance; all instances may share one. */
  adapter(id: string): Adapter | Promise<Adapter>
  /** Faults of one instance. Lasting faults end with `heal()`. */
  readonly faults: Readonly<Record<string, (id: string, others: readonly string[]) => void>>
  /** Ends an instance without a goodbye; absent when the engine cannot do that. */
  kill?(id: string): void
  /** Ends all faults of an instance. */
  heal(id: string): void
  /**
   * Faults of one instance that lose nothing of what it publishes: the messages go out after
   * `heal()`. An instance that receives messages published meanwhile receives each once.
   */
  readonly harmless: Readonly<Record<string, (id: string) => void>>
  /**
   * Milliseconds in which only the sender may know of a loss by the engine: if that instance dies
   * meanwhile, the loss stays unreported. 0 for an engine that loses nothing without a cut.
   */
  readonly blind: number
  /** Milliseconds until the engine is quiet. */
  readonly quiet: number
}

/** The size of a run. */
export interface ModelOptions {
  readonly engine: ModelEngine
  readonly seed: number
  readonly messages: number
  readonly instances: number
  readonly rooms: number
  /** The most messages between two other events. */
  readonly burst: number
  /** The number of messages before all faults are healed and the results are judged. */
  readonly round: number
  progress?(published: number, wrong: number): void
}

/** The result of a run. */
export interface ModelReport {
  readonly published: number
  readonly deliveries: number
  /** Messages owed to members that did not arrive, and were reported. */
  readonly reported: number
  readonly owed: number
  readonly faults: Readonly<Record<string, number>>
  readonly instances: number
  /** A sentence for each mistake; empty when all is well. */
  readonly wrong: readonly string[]
}

/** One connection of one instance. */
interface Member {
  readonly id: string
  readonly openedAt: number
  /** When each room was joined, by the monotonic clock; Infinity until its subscription holds. */
  readonly rooms: Map<string, number>
  /** The last number by `origin room`. */
  readonly last: Map<string, number>
  readonly seen: Set<string>
  open: boolean
}

interface Message {
  readonly key: string
  readonly from: string
  readonly number: number
  readonly rooms: readonly string[]
  readonly at: number
  /**
   * Its sender is cut off and returns, the only fault: it must arrive at instances without a
   * fault.
   */
  readonly isCertain: boolean
  result: PublishResult | null
  /** When it was known to be queued, and the earliest return of its sender. */
  queuedAt: number | null
  backAt: number | null
}

/** The longest time between two messages of an instance that is unheard and about to end, in milliseconds. */
const UNHEARD = 40

/**
 * Milliseconds. The age of a message leaves out its transit, which takes long on a busy machine.
 */
const LONGEST_WAY = 5_000

/**
 * The time of publishing by the checksum of a payload, on the monotonic clock that all instances
 * share.
 */
type Ways = Map<number, number>

/** An adapter that records the transit time of each payload, positions included. */
function timed(adapter: Adapter, ways: Ways, evidence: LossEvidence): Adapter {
  const checksum = (payload: Buffer): number => payload.readUInt32BE(4)
  return {
    ...adapter,
    connect(id, events) {
      const link = adapter.connect(id, {
        ...events,
        received(payload, topic) {
          const at = ways.get(checksum(payload))
          if (at !== undefined) evidence.took(performance.now() - at)
          events.received(payload, topic)
        },
      })
      const publish = link.publish.bind(link)
      link.publish = (topics, payload) => {
        ways.set(checksum(payload), performance.now())
        return publish(topics, payload)
      }
      return link
    },
  }
}

class Instance implements BackplaneHost {
  readonly id: string
  readonly line: Backplane
  readonly members = new Set<Member>()
  /** The number of members of each room. */
  readonly #counts = new Map<string, number>()
  readonly losses: (Loss & { at: number })[] = []
  readonly evidence = new LossEvidence()
  /** Messages published while the engine was away, until it is back. */
  readonly waiting: Message[] = []
  /** When the state of the backplane last was another than ready. */
  disturbedAt = -Infinity
  readonly startedAt = performance.now()
  number = 0
  deliveries = 0
  readonly #run: ModelRun
  /** Rooms with a subscription that does not hold yet. */
  readonly #pending = new Set<string>()
  /** The present subscription of each room: the end of an earlier one does not confirm it. */
  readonly #subscriptions = new Map<string, object>()

  constructor(id: string, run: ModelRun, adapter: Adapter) {
    this.id = id
    this.#run = run
    this.line = new Backplane(timed(adapter, run.ways, this.evidence), id, this)
  }

  join(member: Member, room: string): void {
    if (member.rooms.has(room)) return
    const count = this.#counts.get(room) ?? 0
    this.#counts.set(room, count + 1)
    const others = [...this.members].map(({ rooms }) => rooms.get(room) ?? Infinity)
    member.rooms.set(room, Infinity)
    const hold = (): void => {
      if (member.rooms.get(room) === Infinity) member.rooms.set(room, performance.now())
    }
    if (count > 0) {
      if (Math.min(...others) < Infinity) hold()
      return
    }
    this.evidence.subscribed(room)
    const subscription = {}
    this.#subscriptions.set(room, subscription)
    void this.line.subscribe(room === 'all' ? room : `room:${room}`).then(() => {
      if (this.#subscriptions.get(room) !== subscription) return
      if (this.line.status.state === 'ready') this.#holds(room)
      else this.#pending.add(room)
    })
  }

  leave(member: Member, room: string): void {
    if (!member.rooms.delete(room)) return
    const count = (this.#counts.get(room) ?? 0) - 1
    if (count > 0) this.#counts.set(room, count)
    else {
      this.#counts.delete(room)
      this.#subscriptions.delete(room)
      this.#pending.delete(room)
      this.evidence.unsubscribed(room)
      this.line.unsubscribe(`room:${room}`)
    }
  }

  #holds(room: string): void {
    const now = performance.now()
    for (const { rooms } of this.members) if (rooms.get(room) === Infinity) rooms.set(room, now)
  }

  // ---- BackplaneHost

  deliver(order: Order, from: string, served: Served | null, age: number | null): void {
    if (order.type !== 'send') return
    const text = String(order.frame.subarray((order.frame[1] as number) < 126 ? 2 : 4))
    const [number, at, rooms] = JSON.parse(text) as [number, number, string[]]
    this.#run.arrived(`${from} ${number}`, age)
    const now = Date.now()
    const openedBy = age === null ? Infinity : now - age * 0.999
    const way = Math.min(LONGEST_WAY, Math.max(0, now - at - (age ?? 0)))
    // The message counts as arrived only for rooms with members: for another room it came before
    // they joined.
    const subscribed = order.target.names.filter((name) => this.#counts.has(name))
    this.evidence.arrived(`${from} ${number}`, subscribed)
    for (const member of this.members) {
      const room = order.target.names.find((name) => member.rooms.has(name))
      if (room === undefined || member.openedAt > openedBy) continue
      if (served) {
        if (served.before.has(member)) continue
        served.now.add(member)
      }
      this.deliveries++
      member.seen.add(`${from} ${number}`)
      if (at < member.openedAt - way - MARGIN) {
        this.#run.bad(`${from} ${number} is older than the connection that got it`)
      }
      for (const one of rooms) {
        if (!member.rooms.has(one)) continue
        const key = `${from} ${one}`
        const last = member.last.get(key) ?? 0
        if (number <= last) {
          const what = number === last ? 'twice' : `after ${last}`
          this.#run.bad(`${from} ${number} in ${one} came ${what}`)
        }
        member.last.set(key, number)
      }
    }
  }

  lost(loss: Loss): void {
    this.losses.push({ ...loss, at: performance.now() })
  }

  changed(): void {
    this.disturbedAt = performance.now()
    if (this.line.status.state !== 'ready') return
    this.#isBack(performance.now())
    for (const room of this.#pending) this.#holds(room)
    this.#pending.clear()
  }

  answer(): { count: number; members: [] } {
    return { count: 0, members: [] }
  }

  failed(): void {}

  foreign(): void {
    this.#run.bad('something foreign arrived')
  }

  noted(): void {}

  joined(peer: string): void {
    this.evidence.joined(peer)
  }

  left(peer: string): void {
    this.evidence.left(peer)
  }

  /**
   * The queued messages have gone out; the state may still be degraded while some instances are
   * unheard.
   */
  returned(): void {
    this.#isBack(performance.now() - MARGIN)
  }

  #isBack(at: number): void {
    for (const message of this.waiting.splice(0)) message.backAt = at
  }
}

/**
 * Runs random instances, rooms, members, cuts and deaths, and compares the arrivals with the
 * messages owed to each member.
 */
class ModelRun {
  readonly wrong: string[] = []
  readonly ways: Ways = new Map()
  readonly faults: Record<string, number> = {}
  readonly #options: ModelOptions
  readonly #random: () => number
  readonly #instances: Instance[] = []
  /** Instances that were killed or closed: their messages are judged regardless. */
  readonly #ended = new Map<string, { at: number; isKill: boolean }>()
  /** Instances that one other did not hear in this round. */
  readonly #unheard = new Set<string>()
  readonly #messages = new Map<string, Message>()
  #published = 0
  #deliveries = 0
  #owed = 0
  #reported = 0
  #made = 0

  constructor(options: ModelOptions) {
    this.#options = options
    this.#random = mulberry32(options.seed)
  }

  bad(what: string): void {
    if (this.wrong.length < 50) this.wrong.push(what)
  }

  /**
   * Checks the age of a queued message: the age keeps it from connections that were opened later.
   */
  arrived(key: string, age: number | null): void {
    const message = this.#messages.get(key)
    if (!message) return
    const { at, queuedAt, backAt } = message
    if (age !== null && age > performance.now() - at)
      this.bad(`${key} says that it waited ${age} ms`)
    if (queuedAt === null || backAt === null) return
    // A long queue takes time to go out, so half of the time is enough to find a missing or late
    // age.
    const least = (backAt - queuedAt) / 2 - MARGIN
    if (least > 0 && (age === null || age < least))
      this.bad(`${key} waited about ${backAt - queuedAt} ms, and says ${age}`)
  }

  async run(): Promise<ModelReport> {
    const { messages, round, instances, progress } = this.#options
    // An instance does not keep the process alive.
    const alive = setInterval(() => {}, 60_000)
    while (this.#instances.length < instances) await this.#start()
    await this.#settle()
    while (this.#published < messages && this.wrong.length === 0) {
      const until = Math.min(messages, this.#published + round)
      while (this.#published < until) await this.#step()
      await this.#settle()
      this.#judge()
      for (const name of Object.keys(this.#options.engine.harmless)) await this.#harmless(name)
      progress?.(this.#published, this.wrong.length)
    }
    await Promise.all(this.#instances.map(({ line }) => line.close()))
    clearInterval(alive)
    for (const { deliveries } of this.#instances) this.#deliveries += deliveries
    return {
      published: this.#published,
      deliveries: this.#deliveries,
      owed: this.#owed,
      reported: this.#reported,
      faults: this.faults,
      instances: this.#made,
      wrong: this.wrong,
    }
  }

  async #start(): Promise<Instance> {
    const { engine } = this.#options
    this.#made++
    const id = newId()
    const instance = new Instance(id, this, await engine.adapter(id))
    this.#instances.push(instance)
    for (let i = 0; i < 3; i++) this.#connect(instance)
    return instance
  }

  #connect(instance: Instance): Member {
    const member: Member = {
      id: newId(),
      openedAt: Date.now(),
      rooms: new Map(),
      last: new Map(),
      seen: new Set(),
      open: true,
    }
    instance.members.add(member)
    for (let i = 0; i < 2; i++) instance.join(member, this.#room())
    return member
  }

  #disconnect(instance: Instance, member: Member): void {
    member.open = false
    for (const room of [...member.rooms.keys()]) instance.leave(member, room)
    instance.members.delete(member)
  }

  async #step(): Promise<void> {
    const instance = this.#pick(this.#instances)
    const member = this.#pick([...instance.members]) as Member | undefined
    const dice = this.#random()
    if (dice < 0.06 && member) instance.join(member, this.#room())
    else if (dice < 0.1 && member) instance.leave(member, this.#room())
    else if (dice < 0.12 && member) {
      // The same member leaves all its rooms and comes back at once.
      const rooms = [...member.rooms.keys()]
      for (const room of rooms) instance.leave(member, room)
      if (this.#random() < 0.5) await turn()
      for (const room of rooms) instance.join(member, room)
    } else if (dice < 0.14 && member) {
      // A page reloads, on this or another instance.
      const rooms = [...member.rooms.keys()]
      this.#disconnect(instance, member)
      const there = this.#pick(this.#instances)
      const again = this.#connect(there)
      for (const room of rooms) there.join(again, room)
    } else if (dice < 0.15) this.#fault(instance)
    else if (dice < 0.18) this.#heal(instance)
    else if (dice < 0.183) await this.#end(instance)
    for (let i = Math.floor(this.#random() * this.#options.burst); i > 0; i--)
      this.#publish(this.#pick(this.#instances))
    if (this.#random() < 0.6) await turn()
    if (this.#random() < 0.01) await sleep(this.#random() * 30)
  }

  #fault(instance: Instance, name = this.#pick(Object.keys(this.#options.engine.faults))): void {
    const { faults } = this.#options.engine
    if (!(name in faults)) return
    this.faults[name] = (this.faults[name] ?? 0) + 1
    const others = this.#instances.filter((one) => one !== instance).map(({ id }) => id)
    faults[name]?.(instance.id, others)
    if (name === 'not heard by one') this.#unheard.add(instance.id)
  }

  /**
   * Gives one instance a fault that loses nothing, while members of other instances leave and
   * rejoin all their rooms, or reload.
   */
  async #harmless(name: string): Promise<void> {
    const { harmless } = this.#options.engine
    for (let i = 0; i < 3; i++) {
      const sender = this.#pick(this.#instances)
      this.faults[name] = (this.faults[name] ?? 0) + 1
      harmless[name]?.(sender.id)
      for (let k = 0; k < 6; k++) {
        for (let n = 0; n < 4; n++) this.#publish(sender, true)
        await turn()
        if (k === 0) await sleep(this.#random() * 3 * MARGIN)
      }
      await turn()
      for (const instance of this.#instances) {
        if (instance === sender || this.#random() < 0.5) continue
        const members = [...instance.members]
        const rooms = members.map((member) => [...member.rooms.keys()])
        for (const [m, member] of members.entries())
          for (const room of rooms[m] as string[]) instance.leave(member, room)
        for (const [m, member] of members.entries())
          for (const room of rooms[m] as string[]) instance.join(member, room)
        const member = this.#pick(members) as Member | undefined
        if (!member) continue
        this.#disconnect(instance, member)
        this.#connect(instance)
      }
      this.#heal(sender)
      await this.#settle()
      this.#judge()
    }
  }

  #heal(instance: Instance): void {
    this.#options.engine.heal(instance.id)
  }

  /**
   * Kills or closes an instance, and starts another. Often another instance has not heard it for
   * some beats: then a third instance knows that messages are missing.
   */
  async #end(instance: Instance): Promise<void> {
    if (this.#random() < 0.5) {
      this.#fault(instance, 'not heard by one')
      for (let i = 0; i < 10; i++) {
        this.#publish(instance)
        await sleep(this.#random() * UNHEARD)
      }
    }
    const { engine } = this.#options
    const isKill = engine.kill !== undefined && this.#random() < 0.5
    this.faults[isKill ? 'kill' : 'close'] = (this.faults[isKill ? 'kill' : 'close'] ?? 0) + 1
    this.#instances.splice(this.#instances.indexOf(instance), 1)
    this.#ended.set(instance.id, { at: performance.now(), isKill })
    this.#deliveries += instance.deliveries
    instance.members.clear()
    if (isKill) engine.kill?.(instance.id)
    void instance.line.close()
    await this.#start()
  }

  #publish(instance: Instance, isCertain = false): void {
    const rooms = [this.#room()]
    if (this.#random() < 0.15) {
      const other = this.#room()
      if (other !== rooms[0]) rooms.push(other)
    }
    const number = ++instance.number
    const text = JSON.stringify([number, Date.now(), rooms])
    const message: Message = {
      key: `${instance.id} ${number}`,
      from: instance.id,
      number,
      rooms,
      at: performance.now(),
      isCertain,
      result: null,
      queuedAt: null,
      backAt: null,
    }
    const isAway = instance.line.status.state === 'degraded'
    const { result } = instance.line.publish({
      type: 'send',
      target: { kind: 'rooms', names: rooms, except: [], exceptUsers: [] },
      frame: Frame.encode(text, null).plain,
      pushed: false,
      volatile: false,
    })
    void result.then((verdict) => {
      message.result = verdict
      if (!isAway || verdict !== 'queued') return
      message.queuedAt = performance.now()
      if (instance.line.status.state === 'degraded') instance.waiting.push(message)
    })
    this.#messages.set(message.key, message)
    this.#published++
  }

  /** Heals all faults, and waits until the queues are empty and the engine is quiet. */
  async #settle(): Promise<void> {
    for (const instance of this.#instances) this.#heal(instance)
    const deadline = performance.now() + 60_000
    let quietSince = Infinity
    for (;;) {
      await sleep(20)
      const now = performance.now()
      const isDone = this.#instances.every(({ line: { status } }) => {
        const { state, queued, instances } = status
        return (
          state === 'ready' && queued.messages === 0 && instances === this.#instances.length - 1
        )
      })
      // An instance may notice the last cut only now.
      quietSince = isDone ? Math.min(quietSince, now) : Infinity
      if (now - quietSince > this.#options.engine.quiet) return
      if (now > deadline) {
        const states = this.#instances.map(({ line }) => JSON.stringify(line.status))
        this.bad(`it does not settle: ${states.join(' ')}`)
        return
      }
    }
  }

  #judge(): void {
    for (const instance of this.#instances) {
      for (const what of instance.evidence.contradictions(instance.losses, this.#messages.values()))
        this.bad(`${instance.id}: ${what}`)
      instance.evidence.clear()
      this.ways.clear()
      const reported = (room: string, { from, at }: Message): boolean =>
        instance.losses.some(
          (loss) =>
            loss.topic === `room:${room}` &&
            (loss.from === from || loss.from === '') &&
            loss.at >= at - MARGIN,
        )
      for (const member of instance.members) {
        for (const message of this.#messages.values()) {
          if (message.from === instance.id) continue
          const room = message.rooms.find(
            (name) => (member.rooms.get(name) ?? Infinity) < message.at - MARGIN,
          )
          if (room === undefined) continue
          this.#owed++
          if (member.seen.has(message.key)) continue
          const ended = this.#ended.get(message.from)
          const isExcused =
            message.result === 'failed' ||
            (ended !== undefined &&
              (message.result !== 'sent' || !this.#hasWitness(message, instance))) ||
            (ended?.isKill && message.at > ended.at - this.#options.engine.blind) ||
            message.rooms.some((name) => reported(name, message))
          const isCertain = message.isCertain && instance.disturbedAt < message.at
          if (isExcused && !isCertain) this.#reported++
          else {
            this.bad(
              `${message.key} in ${message.rooms.join()} (${message.result}) is missing at ${instance.id}${isExcused ? ', though only its sender was away' : ', silently'}`,
            )
          }
        }
        member.seen.clear()
      }
      instance.losses.length = 0
    }
    this.#messages.clear()
    this.#unheard.clear()
  }

  /** Returns whether a third instance heard the sender, and is heard: it knows how far the sender came. */
  #hasWitness({ at }: Message, instance: Instance): boolean {
    return this.#instances.some(
      (one) =>
        one !== instance &&
        !this.#unheard.has(one.id) &&
        Math.max(one.startedAt, one.disturbedAt) < at - MARGIN,
    )
  }

  #room(): string {
    return `r${Math.floor(this.#random() * this.#options.rooms)}`
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] as T
  }
}

/** Runs the model. The seed determines the operations; arrival times depend on the machine. */
export function runModel(options: ModelOptions): Promise<ModelReport> {
  return new ModelRun(options).run()
}
