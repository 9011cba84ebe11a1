import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { launchChromium } from '../../support/chromium.ts'
import type { DriveReport } from './drive.ts'
import { LISTENED } from './hostile-server.ts'

/** The result of the clients in a page, with the uncaught errors there. */
export interface PageReport extends DriveReport {
  readonly uncaught: readonly string[]
  /** Bytes after a garbage collection. */
  readonly heap: { readonly before: number; readonly after: number }
}

const ROOT = new URL('../../../', import.meta.url)

const PAGE = `<!doctype html><meta charset="utf-8"><script>
window.uncaught = []
window.goOn = true
const keep = (text) => window.uncaught.length < 20 && window.uncaught.push(text)
addEventListener('error', (event) => keep('uncaught: ' + event.message))
addEventListener('unhandledrejection', (event) => keep('unhandled rejection: ' + event.reason))
const names = () => [Object, Array, Function, String, Error, Promise].map(({ prototype }) =>
  Reflect.ownKeys(prototype).map(String).join()).join()
window.namesBefore = names()
window.names = names
</script>`

/** Builds the bundle, opens it in Chromium, and drives clients of a server there. */
export async function driveInPage(
  http: Server,
  url: string,
  clients: number,
  goOn: () => boolean,
): Promise<PageReport> {
  const files = await pageFiles()
  http.on('request', (req, res) => {
    const body = files[req.url ?? '']
    const type = req.url === '/' ? 'text/html' : 'text/javascript'
    res.writeHead(body === undefined ? 404 : 200, { 'content-type': type })
    res.end(body)
  })
  const browser = await launchChromium()
  try {
    const page = await browser.newPage()
    await page.goto(url.replace('ws:', 'http:'))
    const session = await page.context().newCDPSession(page)
    const heap = async (): Promise<number> => {
      await session.send('HeapProfiler.collectGarbage')
      return (await session.send('Runtime.getHeapUsage')).usedSize
    }
    const before = await heap()
    const setUp = { url, clients, types: LISTENED }
    const driven = page.evaluate(
      `Promise.all([import('/drive.js'), import('/koaws-client.js')]).then(([{ drive }, { connect }]) =>
        drive({ ...${JSON.stringify(setUp)}, connect, goOn: () => window.goOn }))`,
    )
    while (goOn()) await Promise.race([driven, new Promise((resolve) => setTimeout(resolve, 100))])
    await page.evaluate('window.goOn = false')
    const report = (await driven) as DriveReport
    const uncaught = (await page.evaluate(
      `window.names() === window.namesBefore && !('polluted' in {}) ? window.uncaught : ['the prototypes are not as before']`,
    )) as string[]
    return { ...report, uncaught, heap: { before, after: await heap() } }
  } finally {
    await browser.close()
  }
}

async function pageFiles(): Promise<Record<string, string>> {
  const script = fileURLToPath(new URL('scripts/bundle-client.mjs', ROOT))
  await promisify(execFile)(process.execPath, [script])
  const driver = await readFile(new URL('drive.ts', import.meta.url), 'utf8')
  const { code } = await transform(driver, { loader: 'ts', format: 'esm', target: 'es2022' })
  return {
    '/': PAGE,
    '/drive.js': code,
    '/koaws-client.js': await readFile(new URL('dist/koaws-client.js', ROOT), 'utf8'),
  }
}
