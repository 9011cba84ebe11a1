// Warns about mistakes that are otherwise silent.

import { warnOnce } from '../warn.ts'

/** Warns that an origin was rejected, which a browser only shows as 1006. */
export function hintOrigin(message: string): void {
  warnOnce(
    'KOAWS_ORIGIN',
    `An upgrade was rejected with 403. ${message} Add the page's origin to "origin", such as koaWs({ origin: ['http://localhost:5173'] }). Behind the dev server of Vite or webpack, "changeOrigin: true" rewrites Host but not Origin: leave it out of that proxy.`,
  )
}

/** Warns that another `upgrade` listener was on the server before the plugin. */
export function hintAttach(): void {
  warnOnce(
    'KOAWS_ATTACH',
    'Another "upgrade" listener was on this server before koaws took it with its first request. Koa never saw the upgrades before that request, and they hang. Call hub.attach(server) when the server is created.',
  )
}

/** Warns that an upgrade passed two plugins with the same property name. */
export function hintTwoPlugins(): void {
  warnOnce(
    'KOAWS_TWO_PLUGINS',
    'An upgrade passed two koaWs() plugins. Its connection belongs to the inner one: the hub of the outer one has no connections. Use one plugin, or give one of them the option "filter" or another "property".',
  )
}

/** Warns that the response of an accepted upgrade was used. */
export function hintLateResponse(): void {
  warnOnce(
    'KOAWS_LATE_RESPONSE',
    'ctx.body, ctx.res or a cookie was set after the upgrade had been accepted. The client does not get it: set it before the accept, or accept with ctx.ws(handler), which waits for the end of the chain.',
  )
}
