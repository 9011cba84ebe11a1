// The replica of a log: follows its owner.

import { latest } from './ballot.ts'
import type { Context } from './context.ts'
import { Copy } from './copy.ts'
import type { Log } from './log.ts'
import type { Committed, Drop, Install, Replicate } from './messages.ts'
import { bare } from './replication.ts'

/** The replica of a log. It acknowledges each entry, and gives way to later claims only. */
export class Replicas {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  install(log: Log, from: string, { copy }: Install): void {
    const { ballot } = copy
    const about = { log: log.name, ballot }
    if (ballot < log.promised) {
      this.#context.send(from, { kind: 'stale', ...about, promised: log.promised })
      return
    }
    log.promised = ballot
    log.claim = null
    log.ownership = null
    this.#context.logs.setCopy(log, new Copy(copy))
    log.boundTo = from
    log.newest = latest(log.newest, copy.epoch)
    this.#context.know(log, ballot, from)
    this.#context.send(from, { kind: 'installed', ...about, seq: copy.last.seq })
  }

  replicate(log: Log, from: string, { ballot, entry, done }: Replicate): void {
    const { copy } = log
    if (log.boundTo !== from || copy?.ballot !== ballot) return
    if (entry.seq !== copy.last.seq + 1) return
    copy.add(entry)
    copy.commit(Math.min(done, entry.seq), this.#context.environment.limits)
    this.#context.grown(log)
    this.#context.acknowledge(from, { kind: 'replicated', log: log.name, ballot, seq: entry.seq })
  }

  /** Entries that are here are for this instance too, which follows the log. */
  committed(log: Log, from: string, { ballot, seq }: Committed): void {
    const { environment } = this.#context
    if (!log.follows) this.#context.send(from, { kind: 'unfollow', log: log.name })
    const { copy } = log
    if (copy?.ballot === ballot && copy.last.seq >= seq) {
      const entries = copy.commit(seq, environment.limits)
      this.#context.grown(log)
      if (log.follows) environment.recorded(log.name, copy.epoch, entries.map(bare))
    } else if (log.follows) {
      environment.missed(`the copy of ${log.name} was replaced before its last entries were told`)
    }
  }

  drop(log: Log, from: string, { ballot }: Drop): void {
    if (!log.ownership && log.copy && log.copy.ballot <= ballot) {
      this.#context.logs.setCopy(log, null)
      log.boundTo = ''
    }
    log.promised = latest(log.promised, ballot)
    if (log.ownership && log.copy && log.copy.ballot <= ballot) return
    if (log.claim && log.claim.ballot < ballot) log.claim = null
    this.#context.send(from, { kind: 'dropped', log: log.name, ballot })
  }
}
