// Implements `hub.route()`, and the types of its path parameters.

import type { Context, DefaultContext, DefaultState, Middleware, Next } from 'koa'
import compose from 'koa-compose'
import { match } from 'path-to-regexp'
import { OptionsError, toError } from '../errors.ts'
import { asksForWebSocket } from '../upgrade/handshake.ts'
import { upgradeOf } from '../upgrade/upgrade.ts'
import { describe } from '../validate.ts'
import { notPassed, rejectOf } from './accept.ts'
import { contextUpgrade, wsOf } from './context.ts'

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

/** The name at the start of a pattern, and the text after it. */
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
 * The parameters of a path literal in the syntax of path-to-regexp: `/chat/:room` gives `{ room:
 * string }`, and `{/:page}` an optional parameter. A path that is not a literal type allows any
 * name.
 */
export type RouteParams<Path extends string> = string extends Path
  ? Record<string, string | string[]>
  : ParamsOf<Path> extends infer Params
    ? unknown extends Params
      ? Record<never, string>
      : { [K in keyof Params]: Params[K] }
    : never

/** The middleware of `hub.route()`: Koa middleware with the parameters of the path. */
export type RouteMiddleware<
  Path extends string,
  State = DefaultState,
  Custom = DefaultContext,
> = Middleware<State, Custom & { params: RouteParams<Path> }>

/**
 * Returns middleware that runs the given middleware for upgrades with a matching path. Plain HTTP
 * and other paths fall through.
 *
 * @throws OptionsError for a path that path-to-regexp cannot parse, or without middleware
 */
export function route(path: string, middleware: readonly Middleware<never, never>[]): Middleware {
  if (typeof path !== 'string') {
    throw new OptionsError(
      `hub.route() takes a path such as "/chat/:room" and then middleware. The path must be a string, not ${describe(path)}.`,
    )
  }
  if (!path.isWellFormed()) {
    throw new OptionsError(
      `hub.route(${JSON.stringify(path)}) matches no request: the path has a lone surrogate.`,
    )
  }
  if (middleware.length === 0)
    throw new OptionsError(
      `hub.route("${path}") needs middleware after the path, such as accept(handler).`,
    )
  const each: unknown[] = middleware.flat(Infinity) // nested arrays, as koa-compose accepts them
  const wrong = each.findIndex((one) => typeof one !== 'function')
  if (wrong >= 0) {
    throw new OptionsError(
      `hub.route("${path}") takes middleware after the path, such as accept(handler), not ${describe(each[wrong])}.`,
    )
  }
  const matches = pathMatcher(path)
  const reject = rejectOf(middleware)
  const run = compose(middleware as unknown as Middleware[])
  const name = `route ${path}` // which timelines and profiles show
  const named = {
    [name]: async (ctx: Context, next: Next): Promise<unknown> => {
      if (!wsOf(ctx)) {
        if (upgradeOf(ctx.req) || asksForWebSocket(ctx.req)) throw notPassed(ctx)
        return next()
      }
      const found = matches(ctx.path)
      if (!found) return next()
      ctx['params'] = { ...found.params }
      // The route's `reject` also applies to authentication in front of its `accept()`.
      contextUpgrade(ctx)?.rejectAs(reject)
      return run(ctx, next)
    },
  }
  return named[name] as Middleware
}

function pathMatcher(
  path: string,
): (path: string) => false | { params: Partial<Record<string, unknown>> } {
  try {
    return match(path, { decode: decodeSafely })
  } catch (error) {
    throw new OptionsError(`hub.route(): ${toError(error).message}`)
  }
}

/** Decodes a parameter. Malformed text is the client's fault, and is returned unchanged. */
function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
