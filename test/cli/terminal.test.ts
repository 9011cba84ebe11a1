import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { paint, printable, showsColors, type Terminal, wrap } from '../../lib/cli/terminal.ts'

describe('the terminal of the command line tool', () => {
  it('prints remote text in one line without control characters', () => {
    expect(printable('\x1b[31mred\x1b[0m\r\n\tand\u202e\u0007 more', 99)).to.equal(
      '[31mred [0m and more',
    )
    expect(printable('abcdef', 3)).to.equal('abc…')
    expect(printable('ab😀', 3)).to.equal('ab\ufffd…')
  })

  it('wraps at spaces, and keeps long words', () => {
    expect(wrap('one two three', '  ', 9)).to.equal('one two\n  three')
    expect(wrap('averyveryverylongword x', '', 5)).to.equal('averyveryverylongword\nx')
  })

  it('paints only where colors are shown', () => {
    const terminal = (color: boolean): Terminal => ({
      out: () => {},
      err: () => {},
      color,
      progress: false,
      onInterrupt: () => () => {},
    })
    expect(paint(terminal(false), 'red', 'x')).to.equal('x')
    expect(paint(terminal(true), 'red', 'x')).to.equal('\x1b[31mx\x1b[39m')
  })

  it('shows colors on a terminal, unless NO_COLOR or TERM say no', () => {
    expect(showsColors(true, {})).to.equal(true)
    expect(showsColors(true, { NO_COLOR: '' })).to.equal(true)
    expect(showsColors(true, { NO_COLOR: '1' })).to.equal(false)
    expect(showsColors(true, { TERM: 'dumb' })).to.equal(false)
    expect(showsColors(false, {})).to.equal(false)
  })

  it('survives a reader that leaves early', async () => {
    const program = `
      import { processTerminal } from './lib/cli/terminal.ts'
      const terminal = processTerminal()
      let left = 50
      const write = () => { terminal.out('x'.repeat(65536)); if (--left > 0) setTimeout(write, 5) }
      write()`
    const args = ['--import=tsx', '--input-type=module', '-e', program]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.stdout.destroy()
    expect((await once(child, 'exit'))[0]).to.equal(0)
  })
})
