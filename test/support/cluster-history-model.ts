import type { Environment } from '../../lib/adapters/cluster/history/context.ts'
import { Core } from '../../lib/adapters/cluster/history/core.ts'
import type { Log } from '../../lib/adapters/cluster/history/log.ts'
import type { Message } from '../../lib/adapters/cluster/history/messages.ts'
import { isUnborn } from '../../lib/history/place.ts'
import type { Entry, HistoryLimits, Place, Reading } from '../../lib/history/store.ts'
import { type Event, Events, random } from './model-events.ts'

/** Wrong variants of the protocol or of its surroundings: the checks must find each of them. */
export const FLAWS = [
  'own-view',
  'early-acknowledgment',
  'no-deduplication',
  'no-drop',
  'half-of-the-answers',
  'no-filling',
  'ballot-from-a-counter',
  'early-up',
  'unverified-death',
] as const
export type Flaw = (typeof FLAWS)[number]

/** What one schedule did, and what was wrong. */
export interface Outcome {
  readonly faults: string[]
  readonly figures: Record<string, number>
}

/** A stream: in order and without loss while both ends live. Of what a killed instance wrote, any prefix arrives. */
interface Channel {
  last: number
  sent: number
  arrived: number
  keep: number
  /** Messages that arrive together with a later one. */
  readonly waiting: Message[]
}

interface Client {
  readonly index: number
  readonly log: string
  host: Instance | null
  /** The position, and the epoch that it began in; null before the first answer. */
  place: Place | null
  readonly early: Map<number, Entry>
  readonly got: { epoch: string; entry: Entry }[]
  readonly told: Set<string>
}

interface Instance {
  readonly number: number
  readonly id: string
  /** The same when it starts again after others took it for ended. */
  readonly publisher: string
  readonly core: Core
  readonly follows: Set<string>
  isAlive: boolean
  isLeaving: boolean
  isInFolder: boolean
  deadline: number
}

interface Acknowledged {
  readonly log: string
  readonly publisher: string
  readonly index: number
  readonly key: string
  readonly place: Place
}

/** The most events of one schedule. */
const MOST = 400_000
const START = Date.UTC(2026, 0, 1)

/**
 * Runs one schedule on the real code of the protocol: up to six instances that start, leave and are
 * killed, messages that take up to 300 ms, publishers, and three clients that move between the
 * instances. Deterministic by seed.
 */
export function runSchedule(seed: number, flaw: Flaw | null = null): Outcome {
  return new Schedule(seed, flaw).run()
}

class Schedule {
  readonly #random: () => number
  readonly #flaw: Flaw | null
  readonly #events = new Events()
  readonly #all: Instance[] = []
  readonly #byId = new Map<string, Instance>()
  readonly #channels = new Map<string, Channel>()
  readonly #clients: Client[]
  readonly #logs: string[]
  readonly #limits: HistoryLimits
  /** Whether entries are removed in this schedule. */
  readonly #isTrimmed: boolean
  /** Whether instances ask for new epochs in this schedule. */
  readonly #isRenewed: boolean
  /** Logs for which an instance has asked for a new epoch. */
  readonly #forked = new Set<string>()
  readonly #slow: number
  readonly #length: number
  readonly #faults: string[] = []
  readonly #truth = new Map<string, string>()
  /** Epochs in which at least one entry was recorded. */
  readonly #recordedIn = new Set<string>()
  readonly #epochs = new Map<string, Set<string>>()
  readonly #acknowledged: Acknowledged[] = []
  readonly #figures: Record<string, number> = {
    kills: 0,
    leaves: 0,
    acknowledged: 0,
    delivered: 0,
    told: 0,
    epochs: 0,
    lostByLeaving: 0,
    restarts: 0,
    renewals: 0,
  }
  /** Logs that lost a copy by a kill in the present epoch. */
  readonly #killed = new Set<string>()
  #keys = 0
  #published = 0

  constructor(seed: number, flaw: Flaw | null) {
    this.#random = random(seed)
    this.#flaw = flaw
    this.#logs = this.#int(3) === 0 ? [`room:${seed}`, `user:${seed}`] : [`room:${seed}`]
    this.#isTrimmed = this.#int(4) === 0
    this.#isRenewed = this.#int(6) === 0
    const few = { messages: 5 + this.#int(40), bytes: 200 + this.#int(2_000), ttl: 500 }
    const many = { messages: 1e6, bytes: 1e9, ttl: 1e9 }
    this.#limits = { ...(this.#isTrimmed ? few : many), maxTotal: 1e9 }
    this.#slow = 0.02 + this.#random() * 0.1
    this.#length = 1_500 + this.#int(2_500)
    this.#clients = [0, 1, 2].map((index) => ({
      index,
      log: this.#logs[index % this.#logs.length] ?? '',
      host: null,
      place: null,
      early: new Map(),
      got: [],
      told: new Set(),
    }))
  }

  run(): Outcome {
    const events = this.#events
    const count = 1 + this.#int(4)
    for (let i = 0; i < count; i++) {
      events.after(this.#int(3) === 0 ? 0 : this.#random() * 100, () => void this.#start())
    }
    for (const client of this.#clients) {
      events.after(200 + this.#random() * 300, () => this.#attach(client))
    }
    const rate = 4 + this.#random() * 40
    const faultEvery = 80 + this.#random() * 700
    events.after(300, () => this.#publishOften(rate))
    events.after(400 + this.#random() * 200, () => this.#breakOften(faultEvery))
    if (this.#isRenewed) events.after(800, () => this.#renewOften())
    let steps = 0
    for (let event: Event | undefined; steps < MOST; steps++) {
      event = events.next()
      if (!event || event.at > this.#length + 9_000) break
      event.act()
    }
    this.#check()
    this.#figures['steps'] = steps
    return { faults: this.#faults, figures: this.#figures }
  }

  // ---- instances

  #start(former: Instance | null = null): Instance {
    const number = this.#all.length + 1
    const id = `i${number}`
    const publisher = former?.publisher ?? `p${number}`
    // The file of a killed instance stays until the first other one knows of its end.
    const there = this.#all.filter((one) => one.isAlive || one.isInFolder).map((one) => one.id)
    const instance: Instance = {
      number,
      id,
      publisher,
      core: new Core(this.#environment(id, publisher)),
      follows: new Set(),
      isAlive: true,
      isLeaving: false,
      isInFolder: true,
      deadline: Infinity,
    }
    this.#all.push(instance)
    this.#byId.set(id, instance)
    if (former) instance.core.adopt(former.core)
    instance.core.start(this.#flaw === 'early-up' ? [] : there)
    if (this.#flaw === 'early-up') {
      for (const other of there) this.#send(id, other, { kind: 'hello' })
    }
    for (const other of there) {
      const end = this.#byId.get(other)
      if (end && !end.isAlive) this.#learn(instance, end)
    }
    this.#tick(instance)
    return instance
  }

  #environment(id: string, publisher: string): Environment {
    const self = (): Instance => this.#byId.get(id) as Instance
    return {
      id,
      publisher,
      limits: this.#limits,
      now: () => START + (this.#flaw === 'ballot-from-a-counter' ? 0 : this.#events.now),
      random: () => Math.floor(this.#random() * 36 ** 6).toString(36),
      send: (to, message) => this.#send(id, to, message),
      isFull: () => false,
      recorded: (log, epoch, entries) => this.#recorded(self(), log, epoch, entries),
      up: () => {},
      missed: () => {},
    }
  }

  #tick(instance: Instance): void {
    if (!instance.isAlive) return
    this.#events.after(150 + this.#random() * 100, () => this.#tick(instance))
    for (const id of instance.core.members.expected) {
      const end = this.#byId.get(id)
      if (end && !end.isAlive && !end.isInFolder) instance.core.ended(id)
    }
    instance.core.tick()
    this.#looked(instance)
    if (!instance.core.members.isUp) return
    for (const client of this.#clients) if (client.host === instance) this.#look(client)
    if (!instance.isLeaving) return
    if (instance.core.isDone || this.#events.now > instance.deadline) this.#end(instance, true)
  }

  #leave(instance: Instance): void {
    this.#add('leaves')
    instance.isLeaving = true
    instance.deadline = this.#events.now + 3_000
    instance.core.leave()
    this.#moveClients(instance, 200)
  }

  /** Ends an instance: killed, or by its own will. */
  #end(instance: Instance, isBye: boolean): void {
    if (!instance.isAlive) return
    instance.isAlive = false
    if (!isBye) this.#add('kills')
    for (const name of this.#logs) {
      if (!isBye && instance.core.logs.find(name)?.copy) this.#killed.add(name)
    }
    for (const other of this.#living()) {
      const channel = this.#channel(instance.id, other.id)
      // The end of what it wrote never left it.
      if (!isBye) channel.keep = channel.sent - this.#int(channel.sent - channel.arrived + 1)
      this.#learn(other, instance)
    }
    if (isBye) instance.isInFolder = false
    this.#moveClients(instance, 300)
  }

  /** An instance gets to know the end of another one, after the last of its messages. */
  #learn(instance: Instance, end: Instance): void {
    this.#inOrder(this.#channel(end.id, instance.id), () => {
      if (!instance.isAlive) return
      end.isInFolder = false
      instance.core.ended(end.id)
      this.#looked(instance)
    })
  }

  #living(): Instance[] {
    return this.#all.filter(({ isAlive }) => isAlive)
  }

  #ready(): Instance[] {
    return this.#living().filter(({ core, isLeaving }) => core.members.isUp && !isLeaving)
  }

  /** Checks the epochs of an instance that has just acted. */
  #looked({ core, isAlive, id }: Instance): void {
    if (!isAlive) return
    for (const name of this.#logs) {
      const log = core.logs.find(name)
      if (!log?.ownership || !log.copy) continue
      const known = this.#epochs.get(name) ?? new Set()
      this.#epochs.set(name, known)
      const { epoch } = log.copy
      if (known.has(epoch)) continue
      if ([...known].some((older) => older >= epoch))
        this.#wrong('an epoch that sorts before an older one')
      const isExpected = this.#killed.has(name) || this.#forked.has(name)
      if (known.size > 0 && !isExpected) this.#add('lostByLeaving')
      this.#killed.delete(name)
      known.add(epoch)
      this.#add('epochs')
      for (const other of this.#living()) {
        if (other.id !== id && other.core.logs.find(name)?.copy && !this.#forked.has(name)) {
          this.#wrong('a new epoch though a copy lives')
        }
      }
    }
  }

  // ---- streams

  #channel(from: string, to: string): Channel {
    const name = `${from}>${to}`
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = { last: 0, sent: 0, arrived: 0, keep: Infinity, waiting: [] }
      this.#channels.set(name, channel)
    }
    return channel
  }

  #inOrder(channel: Channel, act: () => void): void {
    channel.last = Math.max(channel.last + 0.01, this.#events.now + this.#delay())
    this.#events.at(channel.last, act)
  }

  #delay(): number {
    return this.#random() < this.#slow ? 20 + this.#random() * 300 : 1 + this.#random() * 6
  }

  #send(from: string, to: string, message: Message): void {
    const [sender, receiver] = [this.#byId.get(from), this.#byId.get(to)]
    if (!sender?.isAlive || !receiver) return
    if (this.#isForged(sender, receiver, message)) return
    const sent = this.#flaw === 'no-deduplication' ? this.#withoutNumbers(message) : message
    const channel = this.#channel(from, to)
    const index = channel.sent++
    this.#inOrder(channel, () => {
      if (index < channel.keep) channel.waiting.push(sent)
      // Some arrive together with the next one.
      if (index + 1 < channel.sent && this.#random() < 0.5) return
      channel.arrived = index + 1
      const messages = channel.waiting.splice(0)
      if (messages.length > 0 && receiver.isAlive) this.#receive(receiver, from, messages)
    })
  }

  #receive(receiver: Instance, from: string, messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.kind === 'owns') this.#announced(receiver, from, message.log, message.ballot)
    }
    receiver.core.receive(from, messages)
    this.#looked(receiver)
  }

  /** Answers in place of the receiver, as a wrong variant of the protocol would go on without it. */
  #isForged(sender: Instance, receiver: Instance, message: Message): boolean {
    const answer = (reply: Message): void =>
      this.#events.after(0.01, () => {
        if (sender.isAlive) this.#receive(sender, receiver.id, [reply])
      })
    switch (message.kind) {
      case 'gather': {
        const isIgnored = this.#flaw === 'half-of-the-answers' && receiver.number % 2 === 0
        if (this.#flaw !== 'own-view' && !isIgnored) return false
        const { log, ballot } = message
        const about = { holds: false, copy: null, follows: true, newest: '', forgotten: 0 }
        answer({ kind: 'promised', log, ballot, ...about })
        return true
      }
      case 'drop': {
        if (this.#flaw !== 'no-drop') return false
        answer({ kind: 'dropped', log: message.log, ballot: message.ballot })
        return true
      }
      case 'replicate': {
        if (this.#flaw !== 'early-acknowledgment') return false
        const { log, ballot, entry } = message
        answer({ kind: 'replicated', log, ballot, seq: entry.seq })
        return false
      }
      default:
        return false
    }
  }

  /** Makes each attempt to publish look like a first one. */
  #withoutNumbers(message: Message): Message {
    if (message.kind !== 'publish') return message
    return { ...message, from: `${message.from}-${this.#keys++}`, n: 1, known: 0 }
  }

  // ---- faults and publishers

  #publishOften(rate: number): void {
    if (this.#events.now > this.#length) return
    this.#events.after(this.#random() * 2 * rate, () => this.#publishOften(rate))
    const ready = this.#ready()
    const instance = ready[this.#int(ready.length)]
    if (!instance) return
    const count = 1 + (this.#random() < 0.2 ? this.#int(6) : 0)
    for (let i = 0; i < count; i++) this.#publish(instance)
  }

  #publish({ core, publisher }: Instance): void {
    const log = this.#logs[this.#int(this.#logs.length)] ?? ''
    const key = (++this.#keys).toString(36).padStart(8, '0')
    const index = ++this.#published
    const entry = {
      key,
      count: 1 + (this.#int(4) === 0 ? this.#int(3) : 0),
      payload: Buffer.from(key),
    }
    const settle = (place: Place): void => {
      this.#add('acknowledged')
      this.#note(log, place.epoch, place.offset, key)
      if (place.key !== key) this.#wrong('a place with another key')
      this.#acknowledged.push({ log, publisher, index, key, place })
    }
    core.append(log, entry, { settle, fail: () => this.#wrong('an entry failed') })
  }

  #breakOften(every: number): void {
    if (this.#events.now > this.#length) return
    this.#events.after(this.#random() * 2 * every, () => this.#breakOften(every))
    const living = this.#living()
    const kind = this.#random()
    if (kind < 0.4 && living.length > 1) this.#killOne(living)
    else if (kind < 0.75 && living.length < 6) this.#start()
    else {
      const ready = this.#ready()
      const instance = ready[this.#int(ready.length)]
      if (!instance || ready.length < 2) return
      if (this.#random() < 0.6) this.#start()
      this.#leave(instance)
    }
  }

  /** Instances ask for a new epoch, some with an entry that the log has. */
  #renewOften(): void {
    if (this.#events.now > this.#length) return
    this.#events.after(this.#random() * 1_500, () => this.#renewOften())
    const client = this.#clients[this.#int(this.#clients.length)]
    if (!client?.host || !client.place || isUnborn(client.place.epoch)) return
    const { host, log, place } = client
    const isFork = this.#int(2) === 0
    if (isFork) this.#forked.add(log)
    this.#add('renewals')
    const seen = isFork ? { ...place, key: 'another1' } : place
    host.core.ask(log, { want: 'renew', seen }, { settle: () => {}, fail: () => {} })
  }

  #killOne(living: Instance[]): void {
    const log = this.#logs[0] ?? ''
    const owner = living.find(({ core }) => core.logs.find(log)?.ownership)
    const any = living[this.#int(living.length)]
    const victim = (this.#random() < 0.5 ? owner : any) ?? any
    if (!victim) return
    if (this.#flaw === 'unverified-death' && this.#int(4) === 0) {
      // A stream broke off, and was taken for a death.
      for (const other of living) if (other !== victim) other.core.ended(victim.id)
    } else this.#end(victim, false)
    // The others took it for ended, and it goes on under another id.
    if (this.#int(8) === 0 && victim.core.members.isUp && !victim.isLeaving && !victim.isAlive) {
      this.#add('restarts')
      this.#start(victim)
    }
    if (this.#random() >= 0.15) return
    const replica = this.#living().find(({ core }) => core.logs.find(log)?.boundTo)
    if (!replica) return
    this.#events.after(this.#random() * 60, () => {
      if (this.#living().length > 1) this.#end(replica, false)
    })
  }

  // ---- clients: they take their position to another instance

  #moveClients(from: Instance, within: number): void {
    for (const client of this.#clients) {
      if (client.host !== from) continue
      client.host = null
      this.#events.after(5 + this.#random() * within, () => this.#attach(client))
    }
  }

  #attach(client: Client): void {
    const ready = this.#ready()
    const instance = ready[this.#int(ready.length)]
    if (!instance) {
      this.#events.after(50, () => this.#attach(client))
      return
    }
    client.host = instance
    client.early.clear()
    const follows = (): void => {
      if (client.host === instance) this.#look(client)
    }
    if (instance.follows.has(client.log)) follows()
    else {
      instance.follows.add(client.log)
      instance.core.ask(client.log, { want: 'follow' }, { settle: follows, fail: () => {} })
    }
  }

  /** Reads what the client has missed. */
  #look(client: Client): void {
    const { host, place, log } = client
    if (!host) return
    const settle = (reading: Reading): void => {
      if (client.host === host) this.#answered(client, place, reading)
    }
    const question = place ? ({ want: 'read', since: place } as const) : ({ want: 'top' } as const)
    host.core.ask(log, question, { settle, fail: () => {} })
  }

  #answered(client: Client, asked: Place | null, reading: Reading): void {
    const { top } = reading
    const { place } = client
    if (!place || !asked) {
      if (!place) client.place = top
      return
    }
    if (top.epoch < place.epoch) return
    if ('missing' in reading) {
      // The same epoch: another owner may not have committed what the last one had.
      if (
        reading.missing === 'ahead' ||
        asked.offset !== place.offset ||
        asked.epoch !== place.epoch
      )
        return
      const isSame = top.epoch === place.epoch && !isUnborn(place.epoch)
      if (isSame && (reading.missing === 'epoch' || !this.#isTrimmed)) {
        this.#wrong(`a client is told "${reading.missing}" within an epoch`)
      }
      client.told.add(top.epoch)
      this.#add('told')
      client.place = top
      client.early.clear()
      return
    }
    // The log did not exist: all of it follows the place.
    if (top.epoch !== place.epoch) {
      if (asked.epoch !== place.epoch) return
      const epochs = [...(this.#epochs.get(client.log) ?? [])]
      if (
        epochs
          .filter((epoch) => this.#recordedIn.has(epoch))
          .some((epoch) => epoch > place.epoch && epoch < top.epoch)
      ) {
        this.#wrong('an epoch was lost, and the client was not told')
      }
      client.place = { epoch: top.epoch, offset: 0, key: '' }
      client.early.clear()
    }
    for (const entry of reading.entries) {
      this.#note(client.log, top.epoch, entry.offset, entry.key)
      this.#deliver(client, top.epoch, entry)
    }
  }

  #recorded(instance: Instance, log: string, epoch: string, entries: readonly Entry[]): void {
    for (const entry of entries) this.#note(log, epoch, entry.offset, entry.key)
    for (const client of this.#clients) {
      const { host, place } = client
      if (host !== instance || client.log !== log || !place || epoch < place.epoch) continue
      if (epoch !== place.epoch) {
        this.#look(client)
        continue
      }
      const isFirst = client.early.size === 0
      for (const entry of entries) this.#deliver(client, epoch, entry)
      if (isFirst && client.early.size > 0) this.#look(client)
    }
  }

  #deliver(client: Client, epoch: string, entry: Entry): void {
    const { place, early, got } = client
    if (!place || epoch !== place.epoch || entry.offset <= place.offset) return
    if (entry.offset - entry.count > place.offset && this.#flaw !== 'no-filling') {
      early.set(entry.offset - entry.count, entry)
      return
    }
    got.push({ epoch, entry })
    this.#add('delivered')
    client.place = { epoch, offset: entry.offset, key: entry.key }
    const next = early.get(entry.offset)
    early.delete(entry.offset)
    if (next) this.#deliver(client, epoch, next)
  }

  /** An owner announces itself: it must have what the clients have. */
  #announced(receiver: Instance, from: string, log: string, ballot: string): void {
    const owner = this.#byId.get(from)
    if (!owner?.isAlive || ballot < (receiver.core.logs.find(log)?.hint.ballot ?? '')) return
    const { ownership, copy } = owner.core.logs.find(log) ?? {}
    for (const { host, log: of, place } of this.#clients) {
      if (host !== receiver || of !== log || !place || !ownership || !copy) continue
      if (copy.epoch === place.epoch && copy.last.offset < place.offset) {
        this.#wrong('a client is ahead of a new owner')
      }
    }
  }

  // ---- checks

  #note(log: string, epoch: string, offset: number, key: string): void {
    const place = `${log} ${epoch} ${offset}`
    const known = this.#truth.get(place)
    this.#recordedIn.add(epoch)
    if (known === undefined) this.#truth.set(place, key)
    else if (known !== key) this.#wrong('two messages at one place')
  }

  #check(): void {
    for (const name of this.#logs) {
      const owners = this.#living()
        .map(({ core }) => core.logs.find(name))
        .filter((log) => log?.ownership?.state === 'active')
      if (owners.length > 1) this.#wrong('two owners at the end')
      this.#checkLog(name, owners[0] ?? null)
    }
    for (const { core, isAlive } of this.#all) {
      if (isAlive && core.members.isUp && core.waiting > 0) this.#wrong('never acknowledged')
    }
    for (const client of this.#clients) this.#checkClient(client)
  }

  #checkLog(name: string, owner: Log | null): void {
    const copy = owner?.copy ?? null
    const kept = new Map((copy?.snapshot().entries ?? []).map((entry) => [entry.offset, entry.key]))
    for (const [offset, key] of kept) this.#note(name, copy?.epoch ?? '', offset, key)
    const seen = new Map<string, string>()
    for (const [place, key] of this.#truth) {
      const [log, epoch] = place.split(' ')
      const of = `${log} ${epoch} ${key}`
      if (log === name && seen.has(of)) this.#wrong('recorded twice in one epoch')
      seen.set(of, place)
    }
    const ends = new Map<string, number>()
    const mine = this.#acknowledged.filter(({ log }) => log === name)
    for (const { publisher, place, key } of mine.toSorted((a, b) => a.index - b.index)) {
      const of = `${place.epoch} ${publisher}`
      if ((ends.get(of) ?? 0) >= place.offset) this.#wrong('the order of one publisher')
      ends.set(of, place.offset)
      if (copy?.epoch !== place.epoch || this.#isTrimmed) continue
      if (kept.get(place.offset) !== key) this.#wrong('acknowledged and lost')
    }
    for (const { host, log, place } of this.#clients) {
      if (log !== name || !host || !place || !copy) continue
      if (place.epoch !== copy.epoch) this.#wrong('a client in an old epoch')
      else if (place.offset !== copy.done.offset) this.#wrong('a client lacks the end')
    }
  }

  #checkClient({ got, log, told }: Client): void {
    const seen = new Set<string>()
    for (const [at, { epoch, entry }] of got.entries()) {
      if (this.#truth.get(`${log} ${epoch} ${entry.offset}`) !== entry.key) {
        this.#wrong('a client got what was not recorded')
      }
      const of = `${epoch} ${entry.key}`
      if (seen.has(of)) this.#wrong('a client got a message twice')
      seen.add(of)
      const before = got[at - 1]
      if (before?.epoch !== epoch || told.has(epoch)) continue
      if (before.entry.offset !== entry.offset - entry.count)
        this.#wrong('a hole that was not told')
    }
  }

  #wrong(what: string): void {
    this.#faults.push(`${what} at ${Math.round(this.#events.now)} ms`)
  }

  #add(figure: string): void {
    this.#figures[figure] = (this.#figures[figure] ?? 0) + 1
  }

  #int(below: number): number {
    return Math.floor(this.#random() * below)
  }
}
