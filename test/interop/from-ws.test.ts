// The sections of docs/guides/from-ws.md on heartbeat, errors, Redis, PM2 and sticky sessions, with
// the old and the new code.

import { rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { accept } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { replaceOnce } from '../deploys/support/guide.ts'
import { Pm2 } from '../deploys/support/pm2.ts'
import { startProxy, stopProxies } from '../deploys/support/proxy.ts'
import { freePort } from '../support/free-port.ts'
import { needs } from '../support/programs.ts'
import { handshake, type RawClient, rawClient, textFrame } from '../support/raw.ts'
import { startRedis, stopRedis } from '../support/redis.ts'
import { cleanUp, listen, openSocket, serve } from '../support/server.ts'
import { ChatProcess, cookieOf, endChats, enter, SECRET } from './support/chat-process.ts'
import { guideFiles, install, writeGuide } from './support/from-ws-guide.ts'

describe('the guide from ws to koaws', () => {
  let folder: string

  before(() => {
    folder = install({ type: 'module' })
    writeGuide(folder)
  })

  afterEach(async () => {
    await stopProxies()
    await cleanUp()
    await endChats()
    await stopRedis()
  })

  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Starts a file of the guide in two processes. */
  async function startTwo(file: string, env: Record<string, string>): Promise<ChatProcess[]> {
    const nodes = [0, 1].map(() => new ChatProcess(join(folder, file), env))
    for (const node of nodes) await node.listening()
    return nodes
  }

  /**
   * Sends a text until another client receives it, because the nodes may not know each other yet.
   */
  async function reaches(from: TestSocket, to: TestSocket, text: string): Promise<void> {
    const timer = setInterval(() => from.send(text), 100)
    try {
      while ((await to.next()).toString() !== text);
    } finally {
      clearInterval(timer)
    }
  }

  describe('heartbeat', () => {
    /** Opens a connection that answers pings with texts only. */
    async function busyClient(port: number): Promise<RawClient> {
      const client = await rawClient(port)
      client.write(handshake('/'))
      expect((await client.answer()).status).to.equal(101)
      return client
    }

    it('by hand: terminates a client that sends messages while its pong is delayed', async () => {
      const { startHeartbeat } = await import(pathToFileURL(join(folder, 'old/heartbeat.mjs')).href)
      const server = createServer()
      const wss = new WebSocketServer({ server })
      startHeartbeat(wss, 100)
      const client = await busyClient(await listen(server))
      const timer = setInterval(() => client.write(textFrame('still here')), 10)
      try {
        expect((await client.frame()).opcode).to.equal(9)
        await client.end()
      } finally {
        clearInterval(timer)
        wss.close()
      }
    })

    it('koaws: counts messages of the client as a sign of life', async () => {
      const heartbeat = { interval: 2_000, timeout: 2_000 }
      const { port, hub } = await serve((app) => app.use(accept(() => {})), { heartbeat })
      const client = await busyClient(port)
      for (let pings = 0; pings < 3; pings++) {
        expect((await client.frame()).opcode).to.equal(9)
        client.write(textFrame('still here'))
      }
      expect(hub.status().drops).to.not.have.property('heartbeat')
    })
  })

  describe('error handling', () => {
    it('by hand: an exception in a message listener reaches no error listener', async () => {
      const [chat] = (await startTwo('old/server.mjs', {})) as [ChatProcess, ChatProcess]
      const client = await openSocket(chat.port, '/chat', { headers: cookieOf('ann') })
      client.send('hello')
      expect(await chat.ended).to.equal(1)
      expect(chat.output)
        .to.include('SyntaxError')
        .and.not.match(/^(?:app|wss):/m)
    })

    it('koaws: an exception in a message listener reaches `app.on("error")`, with the connection', async () => {
      const [chat] = (await startTwo('new/server.mjs', {})) as [ChatProcess, ChatProcess]
      const client = await openSocket(chat.port, '/chat', { headers: cookieOf('ann') })
      client.send('hello')
      expect((await client.closed).code).to.equal(1011)
      await chat.printed('ann Unexpected token')
    })
  })

  describe('Redis broadcast', () => {
    needs('redis-server')

    it('by hand: every node exits when Redis is killed', async () => {
      const redis = await startRedis()
      const url = `redis://127.0.0.1:${redis.port}`
      const nodes = await startTwo('old/redis.mjs', { REDIS_URL: url })
      const [one, two] = await Promise.all(nodes.map(({ port }) => openSocket(port)))
      await reaches(one as TestSocket, two as TestSocket, 'before')
      await redis.kill()
      for (const node of nodes) {
        expect(await node.ended).to.equal(1)
        expect(node.output).to.include("Unhandled 'error' event")
      }
    })

    it('koaws: a node serves its own clients during a Redis outage, and all clients afterwards', async () => {
      const redis = await startRedis()
      const url = `redis://127.0.0.1:${redis.port}`
      const [left, right] = await startTwo('new/redis.mjs', { REDIS_URL: url })
      const [one, near, far] = [
        await openSocket(left?.port as number),
        await openSocket(left?.port as number),
        await openSocket(right?.port as number),
      ]
      await reaches(one, far, 'before')
      await redis.kill()
      await reaches(one, near, 'meanwhile')
      await redis.start()
      await reaches(one, far, 'afterwards')
    })
  })

  describe('several processes', () => {
    needs('nginx')
    const pm2 = new Pm2()

    after(() => pm2.kill())

    it('by hand: `ip_hash` sends a whole network to one PM2 process, and rooms are limited to a process', async () => {
      const [port, next] = await twoFreePorts()
      const ecosystem = guideFiles.get('old/ecosystem.config.cjs') as string
      writeFileSync(
        join(folder, 'ecosystem.config.cjs'),
        replaceOnce(ecosystem, '3001', String(port)),
      )
      await pm2.run(['start', 'ecosystem.config.cjs'], folder, { SECRET })
      for (const each of [port, next]) await answers(each)
      const proxy = await startNginx(port, next)
      const headers = cookieOf('ann')
      for (let last = 1; last <= 6; last++)
        await openSocket(proxy, '/chat', { headers, localAddress: `127.0.0.${last}` })
      const counts = []
      for (const each of [port, next]) {
        const response = await fetch(`http://127.0.0.1:${each}/`)
        counts.push(((await response.json()) as { connections: number }).connections)
      }
      expect(counts.toSorted()).to.deep.equal([0, 6])

      const [ann, bob] = [
        await openSocket(port, '/chat', { headers }),
        await openSocket(next, '/chat', { headers: cookieOf('bob') }),
      ]
      await enter(ann, 'ann', 'lobby')
      await enter(bob, 'bob', 'lobby')
      ann.json({ type: 'chat', room: 'lobby', text: 'hi' })
      expect(await ann.nextJson()).to.include({ from: 'ann' }) // so the server has handled it
      bob.json({ type: 'chat', room: 'lobby', text: 'alone' })
      expect(await bob.nextJson()).to.include({ from: 'bob', text: 'alone' })
    })

    it('koaws: a room spans the processes', async () => {
      const [left, right] = await startTwo('new/workers.mjs', { XDG_RUNTIME_DIR: pm2.home })
      const [ann, bob] = [
        await openSocket(left?.port as number),
        await openSocket(right?.port as number),
      ]
      await reaches(ann, bob, 'hi')
    })

    /** Returns two adjacent free ports, as `increment_var` needs them. */
    async function twoFreePorts(): Promise<[number, number]> {
      for (;;) {
        const port = await freePort()
        const server = createServer()
        const free = await new Promise<boolean>((resolve) => {
          server.on('error', () => resolve(false))
          server.listen(port + 1, () => server.close(() => resolve(true)))
        })
        if (free) return [port, port + 1]
      }
    }

    /** Resolves when a process answers. */
    async function answers(port: number): Promise<void> {
      for (;;) {
        const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => null)
        if (response?.ok) return
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }

    /** Starts nginx with the configuration of the guide. */
    async function startNginx(one: number, two: number): Promise<number> {
      const port = await freePort()
      const kept = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map((name) => `${name}_temp_path ${name};`)
        .join('\n')
      const changes: [string, string][] = [
        ['listen 80', `listen 127.0.0.1:${port}`],
        ['127.0.0.1:3001', `127.0.0.1:${one}`],
        ['127.0.0.1:3002', `127.0.0.1:${two}`],
        ['http {', `http {\naccess_log off;\n${kept}`],
      ]
      const conf = changes.reduce(
        (text, [from, to]) => replaceOnce(text, from, to),
        guideFiles.get('old/nginx.conf') as string,
      )
      writeFileSync(join(folder, 'nginx.conf'), conf)
      const main = `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr notice;`
      const args = ['-p', folder, '-e', 'stderr', '-c', 'nginx.conf', '-g', main]
      await startProxy('nginx', args, folder, port)
      return port
    }
  })
})
