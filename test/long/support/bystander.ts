import { Worker } from 'node:worker_threads'

const CLIENT = `
const { parentPort, workerData } = require('node:worker_threads')
const { WebSocket } = require('ws')
const socket = new WebSocket(workerData.url, 'koaws.v1')
const latencies = { count: 0, sum: 0, max: 0 }
let next = 1
let sentAt = 0
let problem = null
const ask = () => {
  sentAt = performance.now()
  socket.send(JSON.stringify({ type: 'echo', id: next, data: { text: 'number ' + next } }))
}
socket.on('message', (data) => {
  const { type, id, data: reply } = JSON.parse(data)
  if (type === 'koaws:welcome') {
    parentPort.postMessage('open')
    ask()
    return
  }
  if (type !== 'koaws:reply' || id !== next || reply.text !== 'number ' + next) problem ??= String(data)
  const took = performance.now() - sentAt
  latencies.count++
  latencies.sum += took
  latencies.max = Math.max(latencies.max, took)
  next++
  setTimeout(ask, 10)
})
socket.on('close', (code) => { problem ??= 'closed with ' + code })
socket.on('error', (error) => { problem ??= error.message })
parentPort.on('message', () => parentPort.postMessage({ ...latencies, problem }))
`

/** What a well-behaved client has observed. */
export interface BystanderReport {
  readonly count: number
  /** The sum of all latencies, in milliseconds. */
  readonly sum: number
  /** The longest latency, in milliseconds. */
  readonly max: number
  readonly problem: string | null
}

/** A client in a worker thread that sends an echo, waits for it and for 10 ms, and repeats. */
export class Bystander {
  readonly #worker: Worker

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  static async open(port: number, path: string): Promise<Bystander> {
    const url = `ws://127.0.0.1:${port}${path}`
    const worker = new Worker(CLIENT, { eval: true, execArgv: [], workerData: { url } })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return new Bystander(worker)
  }

  /** Returns its report, and leaves. */
  async end(): Promise<BystanderReport> {
    const report = new Promise<BystanderReport>((resolve) => this.#worker.once('message', resolve))
    this.#worker.postMessage('report')
    const found = await report
    await this.#worker.terminate()
    return found
  }
}
