// The value that `require('koaws')` returns.
import { memoryAdapter } from './adapters/memory.ts'
import { Connection } from './connection/connection.ts'
import { errorTable } from './error-table.ts'
import { AdapterError, KoaWsError, MessageError, OptionsError, UpgradeError } from './errors.ts'
import { koaWs } from './koa-ws.ts'
import { messages } from './messages/messages.ts'
import { accept } from './middleware/accept.ts'
import { bearer } from './middleware/bearer.ts'
import { bySubprotocol } from './middleware/by-subprotocol.ts'
import { forward } from './middleware/forward.ts'
import { CloseCode } from './protocol/close-codes.ts'
import { protocol } from './protocol/definition.ts'

interface Names {
  readonly AdapterError: typeof AdapterError
  readonly CloseCode: typeof CloseCode
  readonly Connection: typeof Connection
  readonly KoaWsError: typeof KoaWsError
  readonly MessageError: typeof MessageError
  readonly OptionsError: typeof OptionsError
  readonly UpgradeError: typeof UpgradeError
  readonly accept: typeof accept
  readonly bearer: typeof bearer
  readonly bySubprotocol: typeof bySubprotocol
  readonly default: typeof koaWs
  readonly errorTable: typeof errorTable
  readonly forward: typeof forward
  readonly koaWs: typeof koaWs
  readonly memoryAdapter: typeof memoryAdapter
  readonly messages: typeof messages
  readonly protocol: typeof protocol
}

const names: Names = {
  AdapterError,
  CloseCode,
  Connection,
  KoaWsError,
  MessageError,
  OptionsError,
  UpgradeError,
  accept,
  bearer,
  bySubprotocol,
  default: koaWs,
  errorTable,
  forward,
  koaWs,
  memoryAdapter,
  messages,
  protocol,
}

/**
 * A function that calls `koaWs()`, with every public name as a property. `require()` returns the
 * export named `module.exports` (Node's documentation, "Loading ECMAScript modules using
 * require()").
 */
export const commonJs: typeof koaWs & Names = Object.assign(
  ((options) => koaWs(options)) as typeof koaWs,
  names,
)
