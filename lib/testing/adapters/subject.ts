import type { Adapter } from '../../backplane/adapter.ts'

/** What the suite is told of an engine. */
export interface AdapterSubject {
  /** An adapter. Each call is that of another instance; all of them reach each other. */
  adapter(): Adapter
  /**
   * Take the engine away, so that links notice; resolves when it is away. Left out only for an engine
   * that cannot be away.
   */
  cut?(): Promise<void>
  /** Bring it back. */
  heal?(): Promise<void>
  /** Publish bytes on a topic, as a stranger who can reach the engine would. */
  inject?(topic: string, payload: Buffer): Promise<void>
  /** Let go of what was made for this test. */
  close?(): Promise<void>
}

/** One test: `run` rejects with an AssertionError where the adapter breaks the contract. */
export interface AdapterTest {
  readonly name: string
  /** What the subject must be able to do for it. */
  readonly needs: readonly AdapterFault[]
  run(): Promise<void>
}

/** What can be done to an engine from outside: `cut` and `heal`, or `inject`. */
export type AdapterFault = 'cut' | 'inject'

/** How the suite makes what it tests: anew for each test. */
export type MakeSubject = () => AdapterSubject | Promise<AdapterSubject>
