// The plugin
export { koaWs, koaWs as default } from './koa-ws.ts'
export type { AttachableServer, AttachOptions, Hub, HubStatus } from './koa-ws.ts'
export type { DeflateOptions, KoaWsOptions } from './options.ts'
export type { CloseOptions } from './hub/shutdown.ts'

// Upgrades: accepting and authenticating
export { accept, forward } from './upgrade/accept-middleware.ts'
export type { Handler, HandlerContext, RouteContext } from './upgrade/accept-middleware.ts'
export type { AcceptOptions, FromContext, SubprotocolChooser } from './upgrade/accept-options.ts'
export { bearer } from './upgrade/bearer.ts'
export type { BearerOptions } from './upgrade/bearer.ts'
export type { ContextWs } from './upgrade/context.ts'
export type { RejectMode } from './upgrade/host.ts'
export type { OriginPolicy, OriginPredicate } from './upgrade/origin.ts'
export type { RouteMiddleware, RouteParams } from './upgrade/route.ts'
export type { AcceptHandler } from './upgrade/upgrade.ts'

// Connections
export { Connection } from './connection/connection.ts'
export type { CloseInfo, Refresh, Sendable, SendOptions } from './connection/types.ts'
export type { ErrorPlace } from './hub/connections.ts'

// Errors and close codes
export { errorTable, KoaWsError, OptionsError, UpgradeError } from './errors.ts'
export type { ErrorCode, ErrorInfo, KoaWsErrorInit } from './errors.ts'
export { CloseCode } from './protocol/close-codes.ts'
