// Serves the files of the page.

import { readFile } from 'node:fs/promises'
import type { Context } from 'koa'

interface PageFile {
  readonly name: string
  readonly type: string
}

/** The files by their path below the page. */
const FILES: Readonly<Record<string, PageFile>> = {
  '': { name: 'index.html', type: 'text/html; charset=utf-8' },
  'inspector.css': { name: 'inspector.css', type: 'text/css; charset=utf-8' },
  'inspector.js': { name: 'inspector.js', type: 'text/javascript; charset=utf-8' },
}

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'Cache-Control': 'no-store',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
}

/** How the page refers to the other files. */
const REFERENCES = /(?<=(?:href|src)=")inspector\./g

const texts = new Map<string, Promise<string>>()

/**
 * Answers a request for a file; 404 for another path.
 *
 * @param rest the path below the page
 * @param folder the relative path of the other files
 */
export async function serveFile(ctx: Context, rest: string, folder = ''): Promise<void> {
  const file = Object.hasOwn(FILES, rest) ? FILES[rest] : undefined
  if (!file) ctx.throw(404)
  if (ctx.method !== 'GET' && ctx.method !== 'HEAD') ctx.throw(405, { headers: { Allow: 'GET' } })
  ctx.set({ ...HEADERS })
  ctx.type = file.type
  const text = await textOf(file.name)
  ctx.body =
    folder === '' ? text : text.replace(REFERENCES, (name) => `${encodeURI(folder)}${name}`)
}

/** Files are read once; after a failure again. */
function textOf(name: string): Promise<string> {
  const known = texts.get(name)
  if (known !== undefined) return known
  const text = readFile(new URL(`./page/${name}`, import.meta.url), 'utf8')
  texts.set(name, text)
  text.catch(() => texts.delete(name))
  return text
}
