import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect } from 'chai'
import { accept, type KoaWsOptions, messages } from '../../lib/index.ts'
import { diagnose, rowOf, run } from '../cli/support/run.ts'
import { selfSigned } from '../support/certificate.ts'
import { freePort } from '../support/free-port.ts'
import { needs } from '../support/programs.ts'
import { cleanUp, listen, makeApp, makeHub } from '../support/server.ts'
import { readerFolder, removeFolders } from './support/guide.ts'
import { type RunningProxy, startProxy, stopProxies } from './support/proxy.ts'

/** Starts an app with an echo on `/` and `/plain`, and `messages()` on `/chat`; returns its port. */
async function startApp(options?: KoaWsOptions): Promise<number> {
  const { app } = makeApp()
  const hub = makeHub(options)
  app.use(hub)
  app.use(hub.route('/chat', accept(messages())))
  const echo = accept((connection) => {
    connection.on('message', (data) => connection.send(data.toString()))
  })
  app.use(hub.route('/', echo))
  app.use((ctx, next) => (ctx.path === '/plain' ? echo(ctx, next) : next()))
  const server = createServer(app.callback())
  hub.attach(server)
  return listen(server)
}

const UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
const HOST = 'proxy_set_header Host $http_host;'
const VERSION = 'proxy_http_version 1.1;'

/** Starts nginx with the lines of one server. */
async function startNginx(
  lines: (port: number) => string,
  main = '',
): Promise<RunningProxy & { port: number; folder: string }> {
  const port = await freePort()
  const folder = readerFolder()
  const kept = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${name};`)
    .join('\n')
  const config = `events {}\nhttp { access_log off;\n${kept}\nserver { ${lines(port)} } }\n`
  writeFileSync(join(folder, 'nginx.conf'), config)
  const global = `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr notice; ${main}`
  const args = ['-p', folder, '-e', 'stderr', '-c', 'nginx.conf', '-g', global]
  return { ...(await startProxy('nginx', args, folder, port)), port, folder }
}

/** Starts nginx in front of an app, with one location. */
async function inNginx(location: string, main?: string): Promise<string> {
  const { port } = await startNginx(
    (own) => `listen 127.0.0.1:${own}; location / { ${location} }`,
    main,
  )
  return `ws://127.0.0.1:${port}/`
}

/** Starts HAProxy in front of an app, with more lines in its frontend and its defaults. */
async function inHaproxy(
  app: number,
  { frontend = '', defaults = '' }: { frontend?: string; defaults?: string } = {},
): Promise<string> {
  const port = await freePort()
  const folder = readerFolder()
  const config = `
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
  timeout tunnel 1h
  ${defaults}
frontend all
  bind 127.0.0.1:${port}
  ${frontend}
  default_backend app
backend app
  server one 127.0.0.1:${app}
`
  writeFileSync(join(folder, 'haproxy.cfg'), config)
  await startProxy('haproxy', ['-f', 'haproxy.cfg'], folder, port)
  return `ws://127.0.0.1:${port}/`
}

/** Makes a certificate with openssl; returns its files. */
function certificate(name: string, dates: readonly string[]): { key: string; cert: string } {
  const folder = join(readerFolder(), name)
  mkdirSync(folder)
  const key = join(folder, 'key.pem')
  const cert = join(folder, 'cert.pem')
  const request = join(folder, 'request.pem')
  const quiet = { stdio: 'ignore', cwd: folder } as const
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`]
  execFileSync(
    'openssl',
    ['req', '-newkey', 'rsa:2048', '-nodes', ...subject, '-keyout', key, '-out', request],
    quiet,
  )
  writeFileSync(join(folder, 'index.txt'), '')
  const config =
    '[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nrand_serial=yes\ndefault_md=sha256\npolicy=any\nnew_certs_dir=.\ncopy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n'
  writeFileSync(join(folder, 'ca.conf'), config)
  execFileSync(
    'openssl',
    [
      ...['ca', '-config', 'ca.conf', '-batch', '-selfsign', '-keyfile', key],
      ...['-in', request, '-out', cert, '-notext', ...dates],
    ],
    quiet,
  )
  return { key, cert }
}

describe('koaws doctor behind nginx', () => {
  needs('nginx')

  afterEach(async () => {
    await stopProxies()
    await cleanUp()
    removeFolders()
  })

  it('finds nothing in a configuration that is right', async () => {
    const app = await startApp()
    const url = await inNginx(`proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE} ${HOST}`)
    const result = await diagnose(url, '--idle', '0.3')
    expect(result.ids).to.deep.equal([])
    expect(rowOf(result, 'Upgrade').data['status']).to.equal(101)
    expect(rowOf(result, 'Upgrade').text).to.match(/through nginx/)
    expect(rowOf(result, 'Origin').data).to.deep.equal({
      same: 'accepted',
      other: 'rejected (403)',
      none: 'accepted',
    })
    expect(rowOf(result, 'Message size').data).to.include({ accepted: 1_048_576, code: null })
    expect((await diagnose(`${url}chat`)).ids).to.deep.equal([])
  })

  it('names a location without Upgrade and Connection', async () => {
    const app = await startApp()
    const url = await inNginx(`proxy_pass http://127.0.0.1:${app}; ${VERSION} ${HOST}`)
    const result = await diagnose(url)
    expect(result.ids).to.deep.equal(['upgrade-dropped'])
    expect(rowOf(result, 'Upgrade').data['status']).to.equal(404)
    const told = await diagnose(`${url}plain`)
    expect(told.ids).to.deep.equal(['upgrade-dropped'])
    expect(rowOf(told, 'Upgrade').data).to.include({
      status: 426,
      code: 'ERR_KOAWS_NOT_AN_UPGRADE',
    })
  })

  it('names a location that drops Connection alone', async () => {
    const app = await startApp()
    const url = await inNginx(
      `proxy_pass http://127.0.0.1:${app}; ${VERSION} ${HOST} proxy_set_header Upgrade $http_upgrade;`,
    )
    expect((await diagnose(url)).ids).to.deep.equal(['upgrade-dropped'])
  })

  it('names a location that speaks HTTP/1.0 to the app', async () => {
    const app = await startApp()
    const url = await inNginx(`proxy_pass http://127.0.0.1:${app}; ${UPGRADE} ${HOST}`)
    expect((await diagnose(url)).ids).to.deep.equal(['http-1-0'])
  })

  it('names a short proxy_read_timeout, and not when the heartbeat is quicker', async () => {
    const lines = `${VERSION} ${UPGRADE} ${HOST} proxy_read_timeout 3s;`
    const silent = await inNginx(`proxy_pass http://127.0.0.1:${await startApp()}; ${lines}`)
    const cut = await diagnose(silent, '--idle', '30')
    expect(cut.ids).to.deep.equal(['idle-closed'])
    expect(rowOf(cut, 'Idle').data).to.include({ code: 1006, pings: 0 })
    const beating = await startApp({ heartbeat: { interval: 1_000, timeout: 1_000 } })
    const kept = await inNginx(`proxy_pass http://127.0.0.1:${beating}; ${lines}`)
    const result = await diagnose(kept, '--idle', '5')
    expect(result.ids).to.deep.equal([])
    expect(rowOf(result, 'Idle').data['pings']).to.be.above(0)
  })

  it('names a proxy that replaces Host, and examines the rest without Origin', async () => {
    const app = await startApp()
    const url = await inNginx(`proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE}`)
    for (const address of [url, `${url}chat`]) {
      const result = await diagnose(address)
      expect(result.ids).to.deep.equal(['host-rewritten'])
      expect(result.findings[0]?.text).to.include(`"127.0.0.1:${app}"`)
      expect(rowOf(result, 'Ping').state).to.equal('ok')
      expect(rowOf(result, 'Upgrade').data['code']).to.equal('ERR_KOAWS_ORIGIN')
    }
  })

  it('names a redirect to https, and one to another address', async () => {
    const toTls = await inNginx('return 301 https://127.0.0.1$request_uri;')
    expect((await diagnose(`${toTls}a?token=hidden-token`)).ids).to.deep.equal(['redirect-to-tls'])
    const elsewhere = await inNginx('return 302 /login;')
    expect((await diagnose(elsewhere)).ids).to.deep.equal(['redirected'])
  })

  it('names an app that is down', async () => {
    const url = await inNginx(`proxy_pass http://127.0.0.1:${await freePort()}; ${UPGRADE}`)
    const result = await diagnose(url)
    expect(result.ids).to.deep.equal(['backend-unreachable'])
    expect(result.findings[0]?.text).to.match(/502 by nginx/)
  })

  it('names a path that the app does not have', async () => {
    const app = await startApp()
    const url = await inNginx(`proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE} ${HOST}`)
    expect((await diagnose(`${url}missing`)).ids).to.deep.equal(['not-found'])
  })

  it('names a path that is missing, a static page, a login and a ban', async () => {
    expect((await diagnose(await inNginx('return 404;'))).ids).to.deep.equal(['not-found'])
    expect((await diagnose(await inNginx('return 200 "<html>hi";'))).ids).to.deep.equal([
      'answered-200',
    ])
    expect((await diagnose(await inNginx('return 401;'))).ids).to.deep.equal(['unauthorized'])
    expect((await diagnose(await inNginx('deny all;'))).ids).to.deep.equal(['forbidden'])
  })

  it('names a proxy that hides Sec-WebSocket-Accept', async () => {
    const app = await startApp()
    const url = await inNginx(
      `proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE} ${HOST} proxy_hide_header Sec-WebSocket-Accept;`,
    )
    const result = await diagnose(url)
    expect(result.ids).to.deep.equal(['handshake-invalid'])
    expect(result.findings[0]?.text).to.include('Sec-WebSocket-Accept')
  })

  it('names a limit of the message size only when a larger one was asked for', async () => {
    const app = await startApp({ maxPayload: 16_384 })
    const url = await inNginx(`proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE} ${HOST}`)
    const told = await diagnose(url)
    expect(told.ids).to.deep.equal([])
    expect(rowOf(told, 'Message size').data).to.deep.equal({
      accepted: 16_384,
      refused: 32_768,
      code: 1009,
    })
    expect((await diagnose(url, '--size', '64K')).ids).to.deep.equal(['message-limit'])
    expect((await diagnose(url, '--size', '16K')).ids).to.deep.equal([])
  })

  it('names a reload that cuts connections', async () => {
    const app = await startApp()
    const { port, child } = await startNginx(
      (own) =>
        `listen 127.0.0.1:${own}; location / { proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE} ${HOST} }`,
      'worker_shutdown_timeout 1s;',
    )
    const { code, out } = await run(
      ['doctor', '--json', `ws://127.0.0.1:${port}/`, '--restart', '60'],
      {
        progress: true,
        err: (text) => text.includes('Restart the server') && child.kill('SIGHUP'),
      },
    )
    expect(code).to.equal(1)
    expect(JSON.parse(out).findings.map(({ id }: { id: string }) => id)).to.deep.equal([
      'restart-cut',
    ])
  })

  describe('with TLS', () => {
    async function over(
      files: { key: string; cert: string },
      listenAs = 'ssl',
    ): Promise<{ url: (host: string) => string }> {
      const app = await startApp()
      const { port } = await startNginx(
        (own) =>
          `listen 127.0.0.1:${own} ${listenAs}; ssl_certificate ${files.cert}; ssl_certificate_key ${files.key}; location / { proxy_pass http://127.0.0.1:${app}; ${VERSION} ${UPGRADE} ${HOST} }`,
      )
      return { url: (host) => `wss://${host}:${port}/` }
    }

    it('names a certificate that is self-signed, and sends nothing to its server', async () => {
      const { url } = await over(selfSigned())
      const result = await diagnose(url('localhost'))
      expect(result.ids).to.have.members(['tls-untrusted', 'tls-expiring'])
      expect(rowOf(result, 'Upgrade').state).to.equal('skipped')
      const insecure = await diagnose(url('localhost'), '--insecure')
      expect(insecure.ids).to.have.members(['tls-untrusted', 'tls-expiring'])
      expect(rowOf(insecure, 'Upgrade').state).to.equal('ok')
      expect(rowOf(insecure, 'HTTP/2').data).to.include({ offered: false })
    })

    it('names a certificate that has expired', async () => {
      const dates = ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z']
      const { url } = await over(certificate('localhost', dates))
      const result = await diagnose(url('localhost'))
      expect(result.ids).to.have.members(['tls-expired', 'tls-untrusted'])
      expect(result.findings[0]?.text).to.include('2020-02-01')
    })

    it('names a certificate for another name', async () => {
      const { url } = await over(certificate('other.example', ['-days', '90']))
      const result = await diagnose(url('localhost'))
      expect(result.ids).to.have.members(['tls-name', 'tls-untrusted'])
      expect(result.findings.find(({ id }) => id === 'tls-name')?.text).to.include('other.example')
    })

    it('tells that nginx offers HTTP/2 without WebSockets over it', async () => {
      const { url } = await over(selfSigned(), 'ssl http2')
      const result = await diagnose(url('localhost'), '--insecure', '--ignore', 'tls-expiring')
      expect(result.ids).to.deep.equal(['tls-untrusted'])
      expect(rowOf(result, 'HTTP/2').data).to.include({ offered: true, connectProtocol: false })
    })

    it('names a port of plain HTTP', async () => {
      const url = await inNginx('return 200;')
      expect((await diagnose(url.replace('ws:', 'wss:'))).ids).to.deep.equal(['tls-failed'])
    })
  })
})

describe('koaws doctor behind HAProxy', () => {
  needs('haproxy')

  afterEach(async () => {
    await stopProxies()
    await cleanUp()
    removeFolders()
  })

  it('finds nothing in a configuration that is right', async () => {
    const url = await inHaproxy(await startApp())
    expect((await diagnose(url)).ids).to.deep.equal([])
    expect((await diagnose(`${url}chat`)).ids).to.deep.equal([])
  })

  it('names a short timeout tunnel', async () => {
    const url = await inHaproxy(await startApp(), { defaults: 'timeout tunnel 3s' })
    expect((await diagnose(url, '--idle', '30')).ids).to.deep.equal(['idle-closed'])
  })

  it('names a rule that deletes Upgrade', async () => {
    const url = await inHaproxy(await startApp(), { frontend: 'http-request del-header Upgrade' })
    expect((await diagnose(url)).ids).to.deep.equal(['upgrade-dropped'])
  })

  it('names a rule that deletes a header of the handshake', async () => {
    const withoutVersion = await inHaproxy(await startApp(), {
      frontend: 'http-request del-header Sec-WebSocket-Version',
    })
    expect((await diagnose(withoutVersion)).ids).to.deep.equal(['websocket-headers-dropped'])
    // HAProxy makes a key of its own where one is missing.
    const otherKey = await inHaproxy(await startApp(), {
      frontend: 'http-request del-header Sec-WebSocket-Key',
    })
    const result = await diagnose(otherKey)
    expect(result.ids).to.deep.equal(['handshake-invalid'])
    expect(result.findings[0]?.text).to.include('Sec-WebSocket-Key')
  })

  it('names a rule that deletes the offered subprotocols, or the chosen one', async () => {
    const asked = await inHaproxy(await startApp(), {
      frontend: 'http-request del-header Sec-WebSocket-Protocol',
    })
    expect((await diagnose(`${asked}chat`, '--protocol', 'koaws.v1')).ids).to.deep.equal([
      'subprotocol-dropped',
    ])
    const chosen = await inHaproxy(await startApp(), {
      frontend: 'http-response del-header Sec-WebSocket-Protocol',
    })
    expect((await diagnose(`${chosen}chat`, '--protocol', 'koaws.v1')).ids).to.deep.equal([
      'subprotocol-missing',
    ])
  })

  it('names a rule that deletes Origin, so that every page may connect', async () => {
    const url = await inHaproxy(await startApp(), { frontend: 'http-request del-header Origin' })
    const result = await diagnose(url)
    expect(result.ids).to.deep.equal(['origin-any'])
    expect(result.findings[0]?.level).to.equal('warning')
    expect((await diagnose(url, '--ignore', 'origin-any')).ok).to.equal(true)
  })

  it('tells that a rule has deleted the extensions', async () => {
    const app = await startApp({ perMessageDeflate: true })
    const whole = await diagnose(await inHaproxy(app))
    expect(rowOf(whole, 'Compression').data['permessageDeflate']).to.equal(true)
    const url = await inHaproxy(app, {
      frontend: 'http-request del-header Sec-WebSocket-Extensions',
    })
    const result = await diagnose(url)
    expect(rowOf(result, 'Compression').data['permessageDeflate']).to.equal(false)
    expect(result.ids).to.deep.equal([])
  })

  it('names an app that is down', async () => {
    const result = await diagnose(await inHaproxy(await freePort()))
    expect(result.ids).to.deep.equal(['backend-unreachable'])
    expect(result.findings[0]?.text).to.match(/503 by HAProxy/)
  })
})
