// Claims: an instance asks all others before it owns a log.

import { latest, nextBallot } from './ballot.ts'
import type { Context } from './context.ts'
import type { Snapshot } from './copy.ts'
import type { Claim, Log } from './log.ts'
import type { Busy, Gather, Promised, Refused } from './messages.ts'
import type { Owners } from './owners.ts'

/**
 * Claims. A claim has a ballot and asks all living instances; each promises to follow no older one, and
 * gives its copy. When an instance that was asked dies, the claim begins again: the others may have
 * answered before its last messages arrived. So two instances never own a log, and a log goes on from
 * the best copy that lives.
 */
export class Claims {
  readonly #context: Context
  readonly #owners: Owners

  constructor(context: Context, owners: Owners) {
    this.#context = context
    this.#owners = owners
  }

  /** @param handFrom the owner that asked for it; empty if none did */
  claim(log: Log, handFrom = ''): void {
    const { members, environment } = this.#context
    if (!members.isUp || log.claim || log.ownership) return
    if (members.isLeaving && members.peers.size > 0 && handFrom === '' && !log.copy) return
    const began = this.#context.environment.now()
    const ballot = nextBallot(latest(log.promised, log.hint.ballot), began, environment.id)
    log.promised = ballot
    log.claim = {
      ballot,
      handFrom,
      began,
      waiting: new Set(),
      copies: new Map(),
      busy: new Map(),
      followers: new Set(),
      newest: newestOf(log),
      forgotten: this.#context.logs.forgotten,
    }
    for (const id of members.peers) this.#gather(log, log.claim, id, handFrom)
    this.#decide(log)
  }

  /** An instance has ended: what others answered may be out of date by what it did last. */
  ended(log: Log, id: string): void {
    if (!log.claim) return
    const { handFrom } = log.claim
    log.claim = null
    this.claim(log, handFrom === id ? '' : handFrom)
  }

  gather(log: Log, from: string, message: Gather): void {
    const { members } = this.#context
    const { name } = log
    const { ballot, handFrom } = message
    const floor = latest(log.promised, log.hint.ballot)
    if (ballot < floor) {
      this.#context.send(from, { kind: 'refused', log: name, ballot, promised: floor })
      return
    }
    const { ownership, boundTo, copy } = log
    if (copy) this.#context.unsettled.add(log)
    const isHanding = ownership?.state === 'handing' && handFrom === members.id
    const isBound =
      boundTo !== '' && boundTo !== handFrom && boundTo !== from && members.isAlive(boundTo)
    if ((ownership && !isHanding) || isBound) {
      const [owner, owned] = [ownership ? members.id : boundTo, copy?.ballot ?? '']
      this.#context.send(from, { kind: 'busy', log: name, ballot, owner, owned })
      return
    }
    log.promised = ballot
    log.claim = null
    log.ownership = null
    log.boundTo = ''
    this.#context.send(from, {
      kind: 'promised',
      log: name,
      ballot,
      holds: copy !== null,
      copy: copy?.exceeds(message.has, message.seq) ? copy.snapshot() : null,
      follows: log.follows,
      newest: newestOf(log),
      forgotten: this.#context.logs.forgotten,
    })
  }

  promised(log: Log, from: string, message: Promised): void {
    const { claim } = log
    if (claim?.ballot !== message.ballot || !claim.waiting.delete(from)) return
    if (message.holds) claim.copies.set(from, message.copy)
    if (message.follows) claim.followers.add(from)
    claim.newest = latest(claim.newest, message.newest)
    claim.forgotten = Math.max(claim.forgotten, message.forgotten)
    this.#decide(log)
  }

  busy(log: Log, from: string, message: Busy): void {
    const { claim } = log
    if (claim?.ballot !== message.ballot || !claim.waiting.delete(from)) return
    claim.busy.set(from, message.owner)
    this.#context.know(log, message.owned, message.owner)
    this.#decide(log)
  }

  refused(log: Log, message: Refused): void {
    log.promised = latest(log.promised, message.promised)
    if (log.claim?.ballot === message.ballot) this.#giveUp(log)
  }

  #gather(log: Log, { ballot, waiting }: Claim, id: string, handFrom: string): void {
    waiting.add(id)
    const has = log.copy?.ballot ?? ''
    const seq = log.copy?.last.seq ?? 0
    this.#context.send(id, { kind: 'gather', log: log.name, ballot, handFrom, has, seq })
  }

  #decide(log: Log): void {
    const { claim } = log
    if (!claim || claim.waiting.size > 0) return
    const { members } = this.#context
    const holders = new Set(claim.copies.keys())
    for (const [id, owner] of claim.busy) {
      if (!claim.copies.has(owner) || owner === id) {
        this.#giveUp(log)
        return
      }
      // The owner of this replica has given way since. The replica has promised nothing, and may have a
      // claim of its own.
      claim.busy.delete(id)
      this.#gather(log, claim, id, owner)
    }
    if (claim.waiting.size > 0) return
    if (log.promised > claim.ballot) {
      this.#giveUp(log)
      return
    }
    log.claim = null
    const best = bestOf(log, claim)
    const living = [...holders].filter((id) => members.isAlive(id))
    if (!best && !log.copy && !log.wanted.create) this.#none(log, claim)
    else this.#owners.become(log, claim, best, new Set(living))
  }

  /** Another instance owns the log, or is about to. */
  #giveUp(log: Log): void {
    log.claim = null
    // The publisher or instance that wants it asks again.
    log.wanted.create = false
    log.wanted.after = ''
    const { ballot, id } = log.hint
    for (const { from } of takeAll(log.wanted.asked)) {
      if (id !== '') this.#context.send(from, { kind: 'redirect', log: log.name, ballot, id })
    }
  }

  /** The log does not exist. It was looked for because of questions. */
  #none(log: Log, { began, newest, forgotten }: Claim): void {
    for (const { from, number } of takeAll(log.wanted.asked)) {
      this.#context.send(from, {
        kind: 'none',
        log: log.name,
        number,
        at: began,
        newest,
        forgotten,
      })
    }
  }
}

/** Returns the best copy of the others; null if that of this instance is as good, or there is none. */
function bestOf(log: Log, claim: Claim): Snapshot | null {
  let best: Snapshot | null = null
  let ballot = log.copy?.ballot ?? ''
  let seq = log.copy?.last.seq ?? 0
  for (const copy of claim.copies.values()) {
    if (!copy) continue
    const exceeds = copy.ballot === ballot ? copy.last.seq > seq : copy.ballot > ballot
    if (best && !exceeds) continue
    if (!best && log.copy && !exceeds) continue
    ;[best, ballot, seq] = [copy, copy.ballot, copy.last.seq]
  }
  return best
}

function takeAll<T>(map: Map<string, T>): T[] {
  const values = [...map.values()]
  map.clear()
  return values
}

/**
 * Returns the latest epoch that is known here. A publisher may know it from the owner only, and ignores
 * earlier ones: a new epoch must be later, also when the clock went back.
 */
function newestOf({ newest, outEpoch, copy }: Log): string {
  return latest(latest(newest, outEpoch), copy?.epoch ?? '')
}
