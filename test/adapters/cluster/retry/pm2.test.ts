import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import WebSocket from 'ws'
import { type Client, connect } from '../../../../lib/client/index.ts'
import { Pm2 } from '../../../deploys/support/pm2.ts'
import { freePort } from '../../../support/free-port.ts'
import { until } from '../support/mesh.ts'

const WORKER = fileURLToPath(new URL('../support/pm2-retry-worker.mjs', import.meta.url))
const CLIENTS = 6
/** Below the limit of keys of one user. */
const MOST_REQUESTS = 50
let users = 0

/** Requests with `retry` of many clients, one after another, until they are stopped. */
class Traffic {
  readonly pids = new Map<number, number>()
  readonly failed: unknown[] = []
  readonly wrong: unknown[] = []
  answered = 0
  #next = 0
  #isStopped = false
  readonly #url: string
  readonly #done: Promise<unknown>

  constructor(url: string) {
    this.#url = url
    this.#done = Promise.all(Array.from({ length: CLIENTS }, () => this.#clients()))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#done
  }

  /** One client after another, each as another user. */
  async #clients(): Promise<void> {
    while (!this.#isStopped) {
      const client = connect(`${this.#url}/?user=${users++}`, {
        WebSocket: WebSocket as never,
        minDelay: 1,
        maxDelay: 50,
        retry: () => true,
      })
      await this.#run(client)
      client.close()
    }
  }

  async #run(client: Client): Promise<void> {
    for (let i = 0; i < MOST_REQUESTS && !this.#isStopped; i++) {
      const n = this.#next++
      try {
        const { sum, pid } = (await client.request('add', n, { retry: true })) as never
        if (sum !== n * 2) this.wrong.push([n, sum])
        this.pids.set(pid, (this.pids.get(pid) ?? 0) + 1)
        this.answered++
      } catch (error) {
        this.failed.push((error as { code: unknown }).code)
      }
    }
  }
}

describe('requests with `retry` under PM2', function () {
  this.timeout(240_000)
  const pm2 = new Pm2()
  const runs = join(pm2.home, 'runs')
  let url = ''

  before(async () => {
    const port = await freePort()
    url = `ws://127.0.0.1:${port}`
    await pm2.startMesh(WORKER, { PORT: String(port), RUNS: runs })
  })

  after(() => pm2.kill())

  beforeEach(() => writeFileSync(runs, ''))

  /** Expects that no request ran twice, and that each was answered, or has an unknown outcome. */
  function judge({ wrong, failed, answered }: Traffic): void {
    const ran = readFileSync(runs, 'utf8').trim().split('\n')
    expect(new Set(ran).size, 'a request ran twice').to.equal(ran.length)
    expect(wrong).to.deep.equal([])
    expect(failed.filter((code) => code !== 'ERR_KOAWS_OUTCOME_UNKNOWN')).to.deep.equal([])
    expect(ran.length).to.be.at.least(answered)
  }

  it('run at most once while all workers are replaced', async () => {
    const traffic = new Traffic(url)
    await until('there are answers', () => traffic.answered > 50)
    const before = [...traffic.pids.keys()]
    await pm2.run(['reload', 'mesh'])
    const { answered } = traffic
    await until('there are more answers', () => traffic.answered > answered + 50)
    await traffic.stop()
    judge(traffic)
    const now = [...traffic.pids.keys()].filter((pid) => !before.includes(pid))
    expect(now).to.have.length.above(1)
  })

  it('run at most once when a worker is killed', async () => {
    const traffic = new Traffic(url)
    await until('there are answers', () => traffic.answered > 50)
    const [pid = 0] = traffic.pids.keys()
    process.kill(pid, 'SIGKILL')
    const { answered } = traffic
    await until('there are more answers', () => traffic.answered > answered + 200)
    await traffic.stop()
    judge(traffic)
  })
})
