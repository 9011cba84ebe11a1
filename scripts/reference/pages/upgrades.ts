/**
 * # Accepting an upgrade
 *
 * From `koaws`. `ctx.ws` is there in every middleware behind the plugin, `ctx.hub` too.
 *
 * @module upgrades
 */
export {
  type AcceptHandler,
  type AcceptOptions,
  accept,
  type BearerOptions,
  bearer,
  bySubprotocol,
  type ContextWs,
  type FromContext,
  forward,
  type Handler,
  type HandlerContext,
  type RouteContext,
  type RouteMiddleware,
  type RouteParams,
  type SubprotocolChooser,
} from '../../../lib/index.ts'
