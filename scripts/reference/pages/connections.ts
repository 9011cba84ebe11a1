/**
 * # Connections
 *
 * From `koaws`. A handler gets one, and `await ctx.ws()` resolves with one.
 *
 * @module connections
 */
export {
  type CloseInfo,
  Connection,
  type Refresh,
  type Replay,
  type RequestOptions,
  type Sendable,
  type SendOptions,
} from '../../../lib/index.ts'
