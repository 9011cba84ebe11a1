import type { Context, DefaultContext, DefaultState, Middleware, Next } from 'koa'
import compose from 'koa-compose'
import { match } from 'path-to-regexp'
import { OptionsError } from '../errors.ts'
import { notPassed } from './accept-middleware.ts'
import { wsOf } from './context.ts'
import { asksForWebSocket } from './handshake.ts'
import { upgradeOf } from './upgrade.ts'

type Letter =
  | 'a'
  | 'b'
  | 'c'
  | 'd'
  | 'e'
  | 'f'
  | 'g'
  | 'h'
  | 'i'
  | 'j'
  | 'k'
  | 'l'
  | 'm'
  | 'n'
  | 'o'
  | 'p'
  | 'q'
  | 'r'
  | 's'
  | 't'
  | 'u'
  | 'v'
  | 'w'
  | 'x'
  | 'y'
  | 'z'
type NameCharacter =
  | Letter
  | Uppercase<Letter>
  | '_'
  | '$'
  | '0'
  | '1'
  | '2'
  | '3'
  | '4'
  | '5'
  | '6'
  | '7'
  | '8'
  | '9'

/** The name at the start of a pattern, and what follows it. */
type TakeName<
  Text extends string,
  Name extends string = '',
> = Text extends `${infer First}${infer Rest}`
  ? First extends NameCharacter
    ? TakeName<Rest, `${Name}${First}`>
    : [Name, Text]
  : [Name, '']

type ParamsOf<Path extends string> = Path extends `${infer Before}{${infer Optional}}${infer After}`
  ? ParamsOf<Before> & Partial<ParamsOf<Optional>> & ParamsOf<After>
  : Path extends `${infer Before}:${infer Rest}`
    ? TakeName<Rest> extends [infer Name extends string, infer After extends string]
      ? ParamsOf<Before> & { [K in Name]: string } & ParamsOf<After>
      : never
    : Path extends `${string}*${infer Rest}`
      ? TakeName<Rest> extends [infer Name extends string, infer After extends string]
        ? { [K in Name]: string[] } & ParamsOf<After>
        : never
      : unknown

/**
 * The parameters of a path literal, in path-to-regexp's syntax: `/chat/:room` gives
 * `{ room: string }`, `{/:page}` an optional one. A path that is no literal gives any name.
 */
export type RouteParams<Path extends string> = string extends Path
  ? Record<string, string | string[]>
  : ParamsOf<Path> extends infer Params
    ? unknown extends Params
      ? Record<never, string>
      : { [K in keyof Params]: Params[K] }
    : never

/** The middleware of `hub.route()`: like any, with the parameters of the path. */
export type RouteMiddleware<
  Path extends string,
  State = DefaultState,
  Custom = DefaultContext,
> = Middleware<State, Custom & { params: RouteParams<Path> }>

/**
 * Middleware that runs others for upgrades whose path matches; plain HTTP, and other paths, fall
 * through.
 *
 * @throws OptionsError for a path that path-to-regexp cannot parse, or without middleware
 */
export function route(path: string, middleware: readonly Middleware<never, never>[]): Middleware {
  if (middleware.length === 0)
    throw new OptionsError(`hub.route("${path}") needs middleware to run.`)
  const matches = pathMatcher(path)
  const run = compose(middleware as unknown as Middleware[])
  return async (ctx: Context, next: Next) => {
    if (!wsOf(ctx)) {
      if (upgradeOf(ctx.req) || asksForWebSocket(ctx.req)) throw notPassed(ctx)
      return next()
    }
    const found = matches(ctx.path)
    if (!found) return next()
    ctx['params'] = { ...found.params }
    return run(ctx, next)
  }
}

function pathMatcher(
  path: string,
): (path: string) => false | { params: Partial<Record<string, unknown>> } {
  try {
    return match(path, { decode: decodeSafely })
  } catch (error) {
    throw new OptionsError(`hub.route(): ${(error as Error).message}`)
  }
}

/** A path that cannot be decoded is the client's fault: it matches as it is, and harms nobody. */
function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
