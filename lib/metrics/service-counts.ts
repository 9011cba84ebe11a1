// Counts what concerns an instance: its backplane and its shutdown.

import { performance } from 'node:perf_hooks'
import type { BackplaneEvent, LostEvent, PublishedEvent, ShutdownEvent } from '../index.ts'
import type { Families } from './families.ts'
import type { Distribution, Series } from './family.ts'
import { SYSTEM } from './message-counts.ts'

/** What every publish changes. */
interface Published {
  readonly orders: Series
  readonly size: Series
  readonly duration: Distribution
}

export class ServiceCounts {
  readonly #families: Families
  #published: Published | null = null
  #stage: { readonly name: string; readonly began: number } | null = null

  constructor(families: Families) {
    this.#families = families
  }

  changed({ state }: BackplaneEvent): void {
    this.#families.sum('koaws.backplane.changes').at(state).value++
  }

  published({ orders, size, duration }: PublishedEvent): void {
    this.#published ??= this.#seriesOfPublished()
    this.#published.orders.value += orders
    this.#published.size.value += size
    this.#published.duration.record(duration / 1000)
  }

  #seriesOfPublished(): Published {
    const families = this.#families
    return {
      orders: families.one('koaws.backplane.published'),
      size: families.one('koaws.backplane.published.size'),
      duration: families.histogram('messaging.client.operation.duration').at(SYSTEM, 'publish'),
    }
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
