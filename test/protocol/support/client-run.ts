import { expect } from 'chai'
import { cleanUp, eventually } from '../../support/server.ts'
import { assertMatch, filled, Ids } from './matching.ts'
import {
  type Handshake,
  type ScriptedConnection,
  type ScriptedServer,
  startScriptedServer,
} from './scripted-server.ts'
import {
  type Action,
  type App,
  type Json,
  type Step,
  type Then,
  textOf,
  type Vector,
  vectorsFor,
} from './vectors.ts'

/** The outcome of a request, or of asking a stream for an item. */
export type Outcome =
  | { value: Json | undefined }
  | { error: Json }
  | { lost: string }
  | { ended: true }

/** The results, messages and errors that the application of a client got. */
export class Heard {
  /** By the name of the request. */
  readonly results = new Map<string, Outcome>()
  /** The arguments of listeners, in order. */
  readonly received: [type: string, data: Json | undefined][] = []
  /** The codes of errors without an id. */
  readonly reported: string[] = []
}

/** The state of a client. */
export interface ClientStatus {
  readonly status: string
  /** The time of the next attempt in epoch milliseconds, while the client waits. */
  readonly retryAt: number | null
}

/** A client that plays the vectors. */
export interface ClientUnderTest {
  readonly heard: Heard
  /** Whether its language tells absent data from null. */
  readonly tellsAbsence: boolean
  /** Connects, with the listeners that `do()` has added. */
  open(): Promise<void>
  /** Resolves once the client has begun. */
  do(action: Action): Promise<void>
  status(): Promise<ClientStatus>
  /** Ends the client in any state. */
  end(): Promise<void>
}

/** Makes a client that is not connected yet. */
export type ClientFactory = (url: string, app: App | undefined) => Promise<ClientUnderTest>

/**
 * Defines the tests of a client: one for each vector, or for each required vector and the optional ones of
 * some sections.
 */
export function testClient(make: ClientFactory, which: 'all' | readonly string[]): void {
  let server: ScriptedServer
  let client: ClientUnderTest

  afterEach(async () => {
    const ended = client.end()
    server.hangUp() // a client may wait for an answer to its handshake
    await ended
    await cleanUp()
  })

  for (const vector of vectorsFor('client')) {
    if (vector.should && which !== 'all' && !which.includes(vector.section)) continue
    it(`${vector.section}: ${vector.name}`, async () => {
      server = await startScriptedServer()
      client = await make(server.url, vector.app)
      await new ClientRun(vector, server, client).play()
    })
  }
}

/** Milliseconds that a client may need beyond its delay. */
const LATENCY = 250

/** Plays the server of one vector. */
class ClientRun {
  readonly #vector: Vector
  readonly #server: ScriptedServer
  readonly #client: ClientUnderTest
  readonly #ids = new Ids()
  #isOpen = false
  #connection: ScriptedConnection | undefined
  /** The moment from which a client counts its delay. */
  #since = 0
  #wasTold = false
  /** The first message on the connection, of a client that knows history. */
  #resume: Json | undefined
  #expected: { from: number; to: number } | undefined

  constructor(vector: Vector, server: ScriptedServer, client: ClientUnderTest) {
    this.#vector = vector
    this.#server = server
    this.#client = client
  }

  async play(): Promise<void> {
    for (const [i, step] of this.#vector.steps.entries()) {
      try {
        await this.#take(step)
      } catch (error) {
        throw new Error(`step ${i}, ${JSON.stringify(step).slice(0, 200)}: ${error}`)
      }
    }
    await this.#nothingMore()
    expect(this.#server.waiting, 'handshakes').to.equal(0)
    expect(this.#client.heard.received, 'received').to.deep.equal([])
  }

  async #take(step: Step): Promise<void> {
    if ('handshake' in step) await this.#shakeHands(step.handshake)
    else if ('resume' in step) this.#expectResume(step.resume)
    else if ('client' in step) await this.#expectMessage(step.client)
    else if ('server' in step) await this.#send(step.server)
    else if ('serverText' in step) this.#open.send(textOf(step.serverText))
    else if ('serverBinary' in step) this.#open.send(Buffer.from(step.serverBinary, 'base64'))
    else if ('close' in step && step.by === 'client') await this.#expectClose(step.close as Json)
    else if ('close' in step) await this.#close(step.close as number, step.reason)
    else if ('do' in step) await this.#client.do(step.do)
    else if ('received' in step) await this.#expectReceived(step.received)
    else if ('result' in step) await this.#expectResult(step)
    else if ('reported' in step) await this.#expectReport(step.reported)
    else if ('then' in step) await this.#expectThen(step.then)
  }

  get #open(): ScriptedConnection {
    if (!this.#connection) throw new Error('there is no connection')
    return this.#connection
  }

  async #shakeHands(step: {
    offers?: string[]
    selects?: string | null
    status?: number
  }): Promise<void> {
    if (!this.#isOpen) await this.#client.open()
    this.#isOpen = true
    const handshake = await this.#server.next()
    this.#assertInTime(handshake)
    const offers = handshake.offers.filter((name) => name !== 'koaws.resume')
    expect(offers).to.have.members(step.offers ?? ['koaws.v1'])
    const knowsHistory = offers.length < handshake.offers.length
    if (this.#vector.history) expect(knowsHistory, 'an offer of koaws.resume').to.equal(true)
    this.#wasTold = false
    this.#since = Date.now()
    if (step.status) return handshake.reject(step.status)
    this.#connection = handshake.accept(step.selects === undefined ? 'koaws.v1' : step.selects)
    this.#resume = undefined
    if (knowsHistory && step.selects === undefined) {
      this.#resume = JSON.parse(await this.#connection.next()) as Json
    }
    await this.#nothingMore() // the connection is open at the client, too
  }

  /** Compares the first message. Absent fields are empty. */
  #expectResume(fields: { previous?: Json[]; positions?: Json }): void {
    const { type, data } = this.#resume as { type: string; data?: { [field: string]: Json } }
    expect(type).to.equal('koaws:resume')
    const pattern = { previous: [], positions: {}, ...fields }
    const presented = { previous: [], positions: {}, ...data }
    assertMatch(pattern, presented, this.#ids, 'the client')
  }

  #assertInTime({ at }: Handshake): void {
    if (!this.#expected) return
    expect(at, 'the handshake').to.be.within(this.#expected.from, this.#expected.to)
    this.#expected = undefined
  }

  async #send(pattern: Json): Promise<void> {
    await this.#open.nothingMore()
    const message = filled(pattern, this.#ids) as { type: string; data?: { after?: number } }
    this.#open.send(JSON.stringify(message))
    if (message.type !== 'koaws:bye' || message.data?.after === undefined) return
    this.#since = Date.now()
    this.#wasTold = true
  }

  async #expectMessage(pattern: Json): Promise<void> {
    const message = JSON.parse(await this.#open.next()) as Json
    assertMatch(pattern, message, this.#ids, 'the client')
  }

  async #close(code: number, reason: Json | undefined): Promise<void> {
    await this.#nothingMore()
    if (!this.#wasTold) this.#since = Date.now()
    this.#open.close(code, filled(reason ?? '', this.#ids) as string)
    this.#connection = undefined
  }

  async #expectClose(pattern: Json): Promise<void> {
    assertMatch(pattern, await this.#open.closed(), this.#ids, 'the code')
    await this.#nothingMore()
    this.#connection = undefined
  }

  async #nothingMore(): Promise<void> {
    await this.#connection?.nothingMore()
  }

  async #expectReceived([type, data]: [string, Json?]): Promise<void> {
    const { received } = this.#client.heard
    await eventually(() => received.length > 0, 'what a listener hears')
    const [heardType, heardData] = received.shift() as [string, Json | undefined]
    expect(heardType).to.equal(type)
    this.#assertData(data, heardData, 'the listener')
  }

  #assertData(pattern: Json | undefined, data: Json | undefined, what: string): void {
    if (pattern !== undefined) assertMatch(pattern, data, this.#ids, what)
    else expect(data, what).to.equal(this.#client.tellsAbsence ? undefined : null)
  }

  async #expectResult(step: Extract<Step, { result: string }>): Promise<void> {
    const { results } = this.#client.heard
    await eventually(() => results.has(step.result), `the result of ${step.result}`)
    const outcome = results.get(step.result) as Outcome
    if (step.error !== undefined) {
      if (!('error' in outcome)) throw new Error(`not an error: ${JSON.stringify(outcome)}`)
      assertMatch(step.error, outcome.error, this.#ids, step.result)
    } else if ('value' in step) {
      if (!('value' in outcome)) throw new Error(`not a value: ${JSON.stringify(outcome)}`)
      this.#assertData(step.value, outcome.value, step.result)
    } else expect(outcome, step.result).to.have.property(step.ended ? 'ended' : 'lost')
  }

  async #expectReport(code: string): Promise<void> {
    const { reported } = this.#client.heard
    await eventually(() => reported.includes(code), `a report of ${code}`)
    reported.splice(reported.indexOf(code), 1)
  }

  async #expectThen(then: Then): Promise<void> {
    if (then === 'at once' || then === 'new token') {
      const longest = then === 'at once' ? 0 : 1000
      this.#expected = { from: this.#since, to: this.#since + longest + LATENCY }
      return
    }
    if (then === 'stop') {
      await this.#reaches('stopped')
      return
    }
    const { retryAt } = await this.#reaches('waiting')
    const [least, most] = then === 'back off' ? [500, 1000] : [then.after * 0.95, then.after * 1.05]
    // 2 ms: clocks are rounded.
    this.#expected = { from: this.#since + least - 2, to: this.#since + most + LATENCY }
    expect(retryAt, 'the next attempt').to.be.within(this.#expected.from, this.#expected.to)
  }

  async #reaches(wanted: string): Promise<ClientStatus> {
    const deadline = Date.now() + 5_000
    for (;;) {
      const state = await this.#client.status()
      if (state.status === wanted) return state
      if (Date.now() > deadline) throw new Error(`the client is ${state.status}, not ${wanted}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}
