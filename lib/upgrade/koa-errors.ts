// Guards Koa's `ctx.onerror` for upgrades.

import { STATUS_CODES } from 'node:http'
import type { Context } from 'koa'
import { debugUpgrade, messageOf } from '../debug.ts'
import { exposureOf, presentable } from '../errors.ts'
import { answerText } from './finished-response.ts'

const told = new WeakSet<Context>()
const reporters = new WeakMap<Context, (error: unknown) => void>()

/**
 * Puts a guard in front of Koa's `ctx.onerror` for one upgrade. Koa calls it outside of any try
 * block. Getters of the error or listeners of `app.on('error')` may throw in it, which would end
 * the process.
 */
export function guardErrors(ctx: Context): void {
  ctx.onerror = onerror
}

/** Reports errors of an accepted upgrade instead of Koa, which lacks the connection. */
export function reportWith(ctx: Context, report: (error: unknown) => void): void {
  reporters.set(ctx, report)
}

/** Returns whether Koa has received an error of this upgrade. */
export function wasTold(ctx: Context): boolean {
  return told.has(ctx)
}

function onerror(this: Context, thrown: Error): void {
  const original = (Object.getPrototypeOf(this) as Context).onerror
  // Koa calls it without an error at the end of every response.
  if (thrown === null || thrown === undefined) {
    original.call(this, thrown)
    return
  }
  told.add(this)
  const report = reporters.get(this)
  if (report) {
    report(presentable(thrown))
    return
  }
  try {
    original.call(this, presentable(thrown) as Error)
  } catch (second) {
    debugUpgrade('the error handler threw: %s', messageOf(second))
    if (this.headerSent || !this.writable) return
    const { status, message } = exposureOf(thrown)
    const code = status ?? 500
    answerText(this.res, code, message ?? STATUS_CODES[code] ?? String(code))
  }
}
