// The part of a route that requests with streams use.

import type { StandardSchema } from '../protocol/standard-schema.ts'

/** The route of a request with a stream. */
export interface StreamedRoute {
  readonly type: string
  /** The schemas of the items that the server sends, and of those of the client. */
  readonly stream: StandardSchema | undefined
  readonly upload: StandardSchema | undefined
  /** Whether the stream can be resumed. */
  readonly resume: boolean
}
