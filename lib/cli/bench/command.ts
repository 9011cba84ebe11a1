// The command `koaws bench`: its options, its help, its report.
import { setMaxListeners } from 'node:events'
import { Arguments } from '../arguments.ts'
import type { Command } from '../command.ts'
import { TARGET_HELP, TARGET_OPTIONS, type Target, targetOf } from '../target.ts'
import { paint, type Terminal } from '../terminal.ts'
import { type BenchOptions, type BenchResult, runBench, type Times } from './bench.ts'

const HELP = `Usage: npx koaws bench <address> [options]

Opens clients, and measures handshakes and round trips. When the server echoes a text, a round
trip is an echo; otherwise it is a ping and its pong. Load only servers that are yours.

  npx koaws bench ws://127.0.0.1:3000/echo
  npx koaws bench wss://example.com/chat --clients 500 --seconds 30 --ping

Bounds
  --clients <number>      clients, and the most sockets at a time (default: 100, at most 10000)
  --seconds <seconds>     how long to measure (default: 10, at most 3600)
  --rate <number>         round trips of each client per second (default: 10)
  --ping                  measure pings, and send no message at all

Handshake
${TARGET_HELP}  --insecure              do not check the certificate

Output
  --json                  one JSON object, for CI

Ctrl+C closes all clients and prints what was measured. Values of headers, the token, the query,
and user and password of the address never appear in the output.

Exit code: 0 no failure, 1 failures, 2 wrong usage.
`

/** The command `koaws bench`. */
export const bench: Command = {
  summary: 'opens many clients, and measures handshakes and round trips',
  help: HELP,
  async run(words, terminal) {
    const args = new Arguments(words, {
      ...TARGET_OPTIONS,
      clients: 'text',
      seconds: 'text',
      rate: 'text',
      ping: 'switch',
      insecure: 'switch',
      json: 'switch',
    })
    const stop = new AbortController()
    const options: BenchOptions = {
      target: targetOf(args),
      clients: args.whole('clients', 100, [1, 10_000]),
      seconds: args.number('seconds', 10, [0.1, 3_600]),
      rate: args.number('rate', 10, [0.1, 1_000]),
      pingOnly: args.has('ping'),
      insecure: args.has('insecure'),
      signal: stop.signal,
    }
    // Each client listens until it is gone.
    setMaxListeners(0, stop.signal)
    const forget = terminal.onInterrupt(() => stop.abort())
    const json = args.has('json')
    if (!json) terminal.out(`\n${paint(terminal, 'bold', options.target.shown)}\n\n`)
    if (!json) terminal.out(`  Bounds         ${boundsText(options)}\n`)
    try {
      const result = await runBench(options)
      terminal.out(json ? jsonText(options, result) : resultText(terminal, options.target, result))
      const failed = result.opened === 0 || Object.keys(result.failures).length > 0
      return failed && !(result.interrupted && result.opened === 0) ? 1 : 0
    } finally {
      forget()
    }
  },
}

function boundsText({ clients, seconds, rate }: BenchOptions): string {
  return `at most ${clients} sockets at a time, ${seconds} s, ${rate} round trips per client and second`
}

function jsonText({ target, clients, seconds, rate }: BenchOptions, result: BenchResult): string {
  const bounds = { clients, seconds, rate }
  return `${JSON.stringify({ version: 1, url: target.shown, bounds, ...result }, null, 2)}\n`
}

function resultText(terminal: Terminal, target: Target, result: BenchResult): string {
  const { opened, connectRate, connect, trip, trips, failures, interrupted } = result
  const trial = trip === 'echo' ? 'Echo' : 'Ping'
  const how =
    trip === 'echo' ? '' : target.protocols.length > 0 ? '' : '  (the server echoes no text)'
  const lines = [
    `  Opened         ${opened} clients, ${connectRate.toFixed(0)} per second`,
    `  Handshake      ${timesText(connect)}`,
    `  ${trial}           ${trips.count} round trips, ${timesText(trips)}${how}`,
  ]
  const failed = Object.entries(failures)
  if (failed.length === 0) lines.push('  Failures       none')
  for (const [reason, count] of failed)
    lines.push(`  ${paint(terminal, 'red', 'Failed')}         ${count}: ${reason}`)
  if (interrupted) lines.push('  Stopped        by Ctrl+C')
  return `${lines.join('\n')}\n\n`
}

function timesText({ count, p50, p99, max }: Times): string {
  if (count === 0) return 'not measured'
  return `p50 ${ms(p50)}, p99 ${ms(p99)}, slowest ${ms(max)}`
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}
