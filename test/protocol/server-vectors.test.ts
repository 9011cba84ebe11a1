import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import type { TestSocket } from '../../lib/testing/index.ts'
import { cleanUp, openSocket, rejected, type Site, turn } from '../support/server.ts'
import { serveFixture } from './support/fixture.ts'
import { assertMatch, filled, Ids } from './support/matching.ts'
import { type Json, type Step, source, textOf, type Vector, vectorsFor } from './support/vectors.ts'

describe('the server and docs/protocol-vectors.json', () => {
  afterEach(cleanUp)

  for (const vector of vectorsFor('server')) {
    it(`${vector.section}: ${vector.name}`, async () => {
      await new ServerRun(vector, await serveFixture()).play()
    })
  }
})

describe('docs/protocol-vectors.json', () => {
  const contract = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')

  it('has every error code of docs/protocol.md', () => {
    const codes = new Set(contract.match(/ERR_KOAWS_[A-Z_]*[A-Z]/g))
    expect([...codes].filter((code) => !source.includes(`"${code}"`))).to.deep.equal([])
    expect(codes.size).to.be.above(10)
  })

  it('has the reaction of a client to every close code of docs/protocol.md', () => {
    const table = contract.slice(contract.indexOf('## 7. '), contract.indexOf('4611 to 4613'))
    const rows = table.match(/^\| [\d*].*?\|/gm) ?? []
    const codes = rows.flatMap((row) => row.match(/\d{4}/g) ?? [])
    const played = vectorsFor('client').flatMap(({ steps }) =>
      steps.flatMap((step) => ('close' in step ? [String(step.close)] : [])),
    )
    expect(codes.filter((code) => !played.includes(code))).to.deep.equal([])
    expect(codes.length).to.be.above(20)
  })
})

/** Plays the client of one vector. */
class ServerRun {
  readonly #vector: Vector
  readonly #site: Site
  readonly #ids = new Ids()
  #socket!: TestSocket
  #isOpen = false

  constructor(vector: Vector, site: Site) {
    this.#vector = vector
    this.#site = site
  }

  async play(): Promise<void> {
    for (const [i, step] of this.#vector.steps.entries()) {
      try {
        await this.#take(step)
      } catch (error) {
        throw new Error(`step ${i}, ${JSON.stringify(step).slice(0, 200)}: ${error}`)
      }
    }
    if (this.#isOpen) await this.#nothingMore()
  }

  async #take(step: Step): Promise<void> {
    if ('handshake' in step) await this.#shakeHands(step.handshake)
    else if ('client' in step) this.#socket.json(filled(step.client, this.#ids))
    else if ('clientText' in step) this.#socket.send(textOf(step.clientText))
    else if ('clientBinary' in step) this.#socket.send(Buffer.from(step.clientBinary, 'base64'))
    else if ('server' in step) await this.#expectMessage(step.server)
    else if ('restart' in step) void this.#site.hub.close({ timeout: 1_000 })
    else if ('close' in step && step.by === 'client') await this.#close(step.close as number)
    else if ('close' in step) await this.#expectClose(step.close as number, step.reason)
  }

  async #shakeHands(handshake: { offers?: string[]; status?: number }): Promise<void> {
    const path = `/${this.#vector.route ?? 'chat'}`
    const socket = openSocket(this.#site.port, path, {
      protocols: handshake.offers ?? ['koaws.v1'],
    })
    if (handshake.status !== undefined) {
      expect((await rejected(socket)).status).to.equal(handshake.status)
      return
    }
    this.#socket = await socket
    this.#isOpen = true
    expect(this.#socket.protocol).to.equal('koaws.v1')
  }

  async #expectMessage(pattern: Json): Promise<void> {
    const message = (await this.#socket.nextJson()) as Json
    assertMatch(pattern, message, this.#ids, 'the server')
  }

  async #expectClose(code: number, reason: Json | undefined): Promise<void> {
    const end = await this.#socket.closed
    this.#isOpen = false
    expect(end.code).to.equal(code)
    if (reason !== undefined) assertMatch(reason, end.reason, this.#ids, 'the reason')
    await this.#nothingWaits()
  }

  async #close(code: number): Promise<void> {
    await this.#nothingMore()
    this.#socket.close(code)
    this.#isOpen = false
    expect((await this.#socket.closed).code).to.equal(code)
    await this.#nothingWaits()
  }

  /** The pong arrives after everything that the server has sent until now. */
  async #nothingMore(): Promise<void> {
    this.#socket.ping()
    await once(this.#socket, 'pong')
    await this.#nothingWaits()
  }

  async #nothingWaits(): Promise<void> {
    const message = await Promise.race([this.#socket.next().catch(() => null), turn()])
    if (message !== null && message !== undefined)
      throw new Error(`the server has also sent ${message}`)
  }
}
