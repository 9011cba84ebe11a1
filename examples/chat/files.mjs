// The files of the page, and the client of koaws, one file of the package.
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import Router from '@koa/router'

const PUBLIC = new URL('public/', import.meta.url)
const CLIENT = new URL('../koaws-client.js', import.meta.resolve('koaws/client'))

/** Middleware that answers with a file. */
export function file(url) {
  const type = url.pathname.slice(url.pathname.lastIndexOf('.'))
  return async (ctx) => {
    ctx.set('Content-Security-Policy', "default-src 'self'; img-src 'self' data:")
    ctx.type = type
    ctx.body = await readFile(url)
  }
}

export const loginPage = file(new URL('login.html', PUBLIC))
export const roomPage = file(new URL('room.html', PUBLIC))

export const files = new Router()
files.get('/koaws-client.js', file(CLIENT))
for (const name of readdirSync(PUBLIC)) {
  if (!name.endsWith('.html')) files.get(`/${name}`, file(new URL(name, PUBLIC)))
}
