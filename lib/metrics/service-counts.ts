// Counts what concerns an instance: its backplane and its shutdown.

import { performance } from 'node:perf_hooks'
import type { BackplaneEvent, LostEvent, PublishedEvent, ShutdownEvent } from '../index.ts'
import type { Families } from './families.ts'
import { SYSTEM } from './message-counts.ts'

export class ServiceCounts {
  readonly #families: Families
  #stage: { readonly name: string; readonly began: number } | null = null

  constructor(families: Families) {
    this.#families = families
  }

  changed({ state }: BackplaneEvent): void {
    this.#families.sum('koaws.backplane.changes').at(state).value++
  }

  published({ orders, size, duration }: PublishedEvent): void {
    const families = this.#families
    families.one('koaws.backplane.published').value += orders
    families.one('koaws.backplane.published.size').value += size
    families
      .histogram('messaging.client.operation.duration')
      .at(SYSTEM, 'publish')
      .record(duration / 1000)
  }

  lost({ direction, count }: LostEvent): void {
    this.#families.sum('koaws.backplane.losses').at(direction).value++
    this.#families.sum('koaws.backplane.lost').at(direction).value += count
  }

  stage({ stage, connections }: ShutdownEvent): void {
    const now = performance.now()
    const durations = this.#families.sum('koaws.shutdown.stage.duration')
    if (this.#stage !== null) {
      durations.at(this.#stage.name).value = (now - this.#stage.began) / 1000
    }
    this.#stage = { name: stage, began: now }
    this.#families.sum('koaws.shutdown.connections').at(stage).value = connections
  }
}
