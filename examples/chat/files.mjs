// The files of the page, and the client of koaws: two files of the package.
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import Router from '@koa/router'

const PUBLIC = new URL('public/', import.meta.url)
const CLIENT = ['koaws-client.js', 'koaws-client-streams.js'] // the second one is loaded at the first stream

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
for (const name of CLIENT) {
  files.get(`/${name}`, file(new URL(`../${name}`, import.meta.resolve('koaws/client'))))
}
for (const name of readdirSync(PUBLIC)) {
  if (!name.endsWith('.html')) files.get(`/${name}`, file(new URL(name, PUBLIC)))
}
