import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { isRunning } from '../../../../lib/adapters/cluster/history/process.ts'

describe('isRunning()', () => {
  it('is true for this process and for one of another user, and false for none', () => {
    expect(isRunning(process.pid)).to.equal(true)
    expect(isRunning(1)).to.equal(true)
    expect(isRunning(0)).to.equal(false)
  })

  it('is false after a process was killed', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    const { pid = 0 } = child
    expect(isRunning(pid)).to.equal(true)
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
    expect(isRunning(pid)).to.equal(false)
  })

  it('is false for a process that was killed, and that its parent has not noticed', async function () {
    if (process.platform !== 'linux') this.skip()
    // The shell becomes a program that never waits for its child.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'])
    const [line] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number(String(line))
    const name = `/proc/${parent.pid}/comm`
    while (readFileSync(name, 'utf8').trim() !== 'sleep') await pause(5)
    expect(isRunning(pid)).to.equal(true)
    process.kill(pid, 'SIGKILL')
    while (isRunning(pid)) await pause(5)
    expect(() => process.kill(pid, 0), 'it still has its number').to.not.throw()
    const exit = once(parent, 'exit')
    parent.kill('SIGKILL')
    await exit
  })
})
