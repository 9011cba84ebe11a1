// The command `koaws doctor`: its options and its help.
import { Arguments, UsageError } from '../arguments.ts'
import type { Command } from '../command.ts'
import { TARGET_HELP, TARGET_OPTIONS, targetOf } from '../target.ts'
import { examine } from './doctor.ts'
import { FINDINGS, type FindingId } from './findings.ts'
import { jsonReport, textReport } from './report.ts'

const MIB = 1_048_576

const HELP = `Usage: npx koaws doctor <address> [options]

Opens WebSockets as a browser does, through every proxy in between, and says what is wrong
and what to change. The application receives no message.

  npx koaws doctor wss://example.com/chat
  npx koaws doctor wss://example.com/chat --idle 75 --header 'Cookie: session=…' --json

Handshake
${TARGET_HELP}  --insecure              go on when the certificate is wrong

Checks
  --idle <seconds>        stay silent that long, and find idle timeouts (default: not tested)
  --restart <seconds>     wait that long for you to restart the server (default: not tested)
  --size <bytes>          the largest message you need, such as 64K or 1M (default: try 1M;
                          0 skips it)

Output and limits
  --json                  one JSON object, for CI
  --ignore <id>           leave out a finding, such as origin-any; may be repeated
  --timeout <seconds>     patience for one step (default: 10)
  --deadline <seconds>    patience for all, without --idle and --restart (default: 120)

Values of headers, the token, the query, and user and password of the address never appear in
the output. Redirects are not followed. NO_COLOR=1 turns colors off.

Exit code: 0 no finding, 1 findings, 2 wrong usage.
Findings: docs/troubleshooting.md#findings-of-the-doctor
`

/** The command `koaws doctor`. */
export const doctor: Command = {
  summary: 'finds out why a WebSocket does not open, or does not stay open',
  help: HELP,
  async run(words, terminal) {
    const args = new Arguments(words, {
      ...TARGET_OPTIONS,
      insecure: 'switch',
      idle: 'text',
      restart: 'text',
      size: 'text',
      json: 'switch',
      ignore: 'list',
      timeout: 'text',
      deadline: 'text',
    })
    const target = targetOf(args)
    const ignored = new Set(args.list('ignore').map(idOf))
    const options = {
      target,
      patience: 1_000 * args.number('timeout', 10, [0.1, 300]),
      deadline: 1_000 * args.number('deadline', 120, [0.1, 3_600]),
      idle: args.number('idle', 0, [0, 86_400]),
      restart: args.number('restart', 0, [0, 86_400]),
      size: args.bytes('size', MIB, [0, 64 * MIB]),
      sizeAsked: args.text('size') !== undefined,
      insecure: args.has('insecure'),
    }
    const report = (args.has('json') ? jsonReport : textReport)(terminal, target, ignored)
    const started = Date.now()
    await examine(options, report)
    return report.finish((Date.now() - started) / 1_000)
  },
}

function idOf(text: string): FindingId {
  const id = ids().find((one) => one === text)
  if (id !== undefined) return id
  throw new UsageError(
    `--ignore must be the id of a finding. The findings are ${ids().join(', ')}.`,
  )
}

function ids(): FindingId[] {
  const isId = (id: string): id is FindingId => Object.hasOwn(FINDINGS, id)
  return Object.keys(FINDINGS).filter(isId)
}
