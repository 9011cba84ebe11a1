import { expect } from 'chai'
import { run } from './support/run.ts'

describe('npx koaws', () => {
  it('lists its commands, and exits with 2 without one', async () => {
    const { code, out, err } = await run([])
    expect([code, out]).to.deep.equal([2, ''])
    expect(err).to.match(/^ {2}doctor {2,}\w.*\n {2}bench {2,}\w/m)
    const help = await run(['--help'])
    expect(help).to.deep.equal({ code: 0, out: err, err: '' })
  })

  it('rejects an unknown command', async () => {
    for (const name of ['doctr', 'constructor', '__proto__', 'ws://a/?token=hidden']) {
      const { code, err } = await run([name, 'ws://127.0.0.1/'])
      expect(code).to.equal(2)
      expect(err).to.match(/there is no command \w/)
      expect(err).to.not.include('hidden')
    }
  })

  it('has a help for each command, with every option that it takes', async () => {
    for (const name of ['doctor', 'bench']) {
      const { code, out } = await run([name, 'anything', '--help'])
      expect(code).to.equal(0)
      const { err } = await run([name, '--no-such-option'])
      const options = [...err.matchAll(/--[a-z]+(?=[,.])/g)].map(([option]) => option)
      expect(options).to.have.length.above(5)
      expect(options.filter((option) => !out.includes(option))).to.deep.equal([])
      expect(out).to.match(/Exit code: 0 .*, 1 .*, 2 /)
      expect(Math.max(...out.split('\n').map((line) => line.length))).to.be.at.most(96)
    }
  })

  it('exits with 2 for wrong usage, and says where the help is', async () => {
    const { code, out, err } = await run(['doctor'])
    expect([code, out]).to.deep.equal([2, ''])
    expect(err).to.match(/address is missing[\s\S]*npx koaws doctor --help/)
  })

  it('exits with 3 for a bug, and prints its place without its message', async () => {
    const { code, err } = await run(['doctor', 'ws://127.0.0.1:1/'], {
      out: () => {
        throw new TypeError('hidden-value')
      },
    })
    expect(code).to.equal(3)
    expect(err).to.match(/a bug in this command.*\nTypeError\n {4}at /)
    expect(err).to.not.include('hidden-value')
  })
})
