// The engine under test, as the suite sees it.
import type { Adapter } from '../../backplane/adapter.ts'

/** The engine under test. */
export interface AdapterSubject {
  /** Returns an adapter. Each call stands for another instance; all of them reach each other. */
  adapter(): Adapter
  /**
   * Makes the engine unreachable; resolves when it is. Omit it only for an engine that is always
   * reachable.
   */
  cut?(): Promise<void>
  /** Makes the engine reachable again. */
  heal?(): Promise<void>
  /** Publishes a `payload` on a `topic`, as other software with access to the engine could. */
  inject?(topic: string, payload: Buffer): Promise<void>
  /** Releases everything that this test created. */
  close?(): Promise<void>
}

/** One test: `run` rejects with an AssertionError when the adapter breaks the contract. */
export interface AdapterTest {
  /** The rule that the test proves, as a sentence. */
  readonly name: string
  /** The faults that the subject must be able to cause for this test, and `history` or `retries` if the test uses it. */
  readonly needs: readonly AdapterFault[]
  /** Runs the test. Rejects with an AssertionError when the adapter breaks the rule. */
  run(): Promise<void>
}

/**
 * What a test needs beside an adapter: a fault that the subject can cause from outside (`cut` and
 * `heal`, or `inject`), or the `history` or `retries` of the adapter.
 */
export type AdapterFault = 'cut' | 'inject' | 'history' | 'retries'

/** Creates the subject of one test. */
export type MakeSubject = () => AdapterSubject | Promise<AdapterSubject>
