import { redisAdapter } from '../../../../lib/adapters/redis/index.ts'
import { newId } from '../../../../lib/connection/id.ts'
import type {
  Entry,
  HistoryLimits,
  HistoryStore,
  NewEntry,
  Place,
  Reading,
} from '../../../../lib/history/store.ts'
import type { ClientSettings, Library } from '../clients.ts'
import { slowly } from '../patience.ts'

export const LIMITS: HistoryLimits = {
  messages: 100,
  bytes: 100_000,
  ttl: 60_000,
  maxTotal: 10_000_000,
}

/** The settings of a store under test. */
export interface StoreSettings {
  readonly port: number
  readonly prefix?: string
  readonly limits?: Partial<HistoryLimits>
  readonly user?: ClientSettings
  readonly heartbeat?: number
  /** Makes a cluster client. */
  readonly isCluster?: boolean
}

const open = new Set<TestStore>()

/** A store, what it has reported, and short forms of its methods. */
export class TestStore {
  readonly store: HistoryStore
  readonly turns: ('up' | 'down')[] = []
  readonly reasons: string[] = []
  readonly heard: (Entry & { readonly log: string; readonly epoch: string })[] = []

  constructor(library: Library, settings: StoreSettings) {
    const { port, prefix = 'koaws:', limits, user, heartbeat = 150, isCluster = false } = settings
    const client = isCluster ? library.cluster(port, user) : library.client(port, user)
    const adapter = redisAdapter({ client, prefix, heartbeat })
    const store = adapter.history?.(
      newId(),
      { ...LIMITS, ...limits },
      {
        recorded: (log, epoch, entries) => {
          for (const entry of entries) this.heard.push({ ...entry, log, epoch })
        },
        up: () => void this.turns.push('up'),
        down: (reason) => {
          this.turns.push('down')
          this.reasons.push(reason.message)
        },
      },
    )
    if (!store) throw new Error('the adapter has no history')
    this.store = store
    open.add(this)
  }

  get isUp(): boolean {
    return this.turns.at(-1) === 'up'
  }

  /** Resolves when the store has been up `times` times, and is up. */
  async up(times = 1): Promise<this> {
    await slowly(
      () => this.isUp && this.turns.filter((turn) => turn === 'up').length >= times,
      () => [this.turns, this.reasons],
    )
    return this
  }

  async down(reason: RegExp): Promise<void> {
    await slowly(
      () => !this.isUp && reason.test(this.reasons.at(-1) ?? ''),
      () => [this.turns, this.reasons],
    )
  }

  async append(log: string, ...texts: string[]): Promise<Place> {
    const places = await Promise.all(texts.map((text) => this.store.append(log, entryOf(text))))
    return places.at(-1) as Place
  }

  async read(log: string, since: Place | null = null): Promise<Reading> {
    return this.store.read(log, since)
  }

  /** Returns what was recorded after a place, or why that cannot be said. */
  async after(log: string, since: Place | null): Promise<string[] | string> {
    const reading = await this.store.read(log, since)
    return 'missing' in reading ? reading.missing : textsOf(reading.entries)
  }

  async all(log: string): Promise<string[]> {
    return (await this.after(log, null)) as string[]
  }

  async top(log: string): Promise<Place> {
    return this.store.top(log)
  }

  close(): void {
    open.delete(this)
    void this.store.close()
  }
}

export async function openStore(library: Library, settings: StoreSettings): Promise<TestStore> {
  return new TestStore(library, settings).up()
}

export function closeStores(): void {
  for (const store of [...open]) store.close()
}

let keys = 0

/** An entry of a text. The key is derived from a counter, or given. */
export function entryOf(text: string, key = `k${String(keys++).padStart(7, '0')}`): NewEntry {
  return { key, count: 1, payload: Buffer.from(text) }
}

export function textsOf(entries: readonly Entry[]): string[] {
  return entries.map(({ payload }) => payload.toString())
}
