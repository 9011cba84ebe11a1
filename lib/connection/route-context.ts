// The type of the ctx that handlers get.

import type { ParameterizedContext } from 'koa'

/** What routers add to a ctx. */
export interface RouteContext {
  /**
   * The route's parameters, decoded. `any`, because routers type them as an index signature, under
   * which `ctx.params.room` does not compile with TypeScript's stricter flags; `hub.route` knows them.
   */
  // biome-ignore lint/suspicious/noExplicitAny: see above
  params: any
}

/** The ctx that a handler gets: that of the route. */
export type HandlerContext<State, Custom> = ParameterizedContext<State, Custom & RouteContext>
