import { PassThrough } from 'node:stream'
import { expect } from 'chai'
import { whenTaken } from '../../lib/history/taken.ts'

describe('whenTaken()', () => {
  it('calls each function once when the socket drains, with one listener for all', () => {
    const socket = new PassThrough()
    const called: number[] = []
    const before = socket.listenerCount('close')
    for (let i = 0; i < 20; i++) whenTaken(socket, 60_000, () => called.push(i))
    expect(socket.listenerCount('drain')).to.equal(1)
    expect(socket.listenerCount('close')).to.equal(before + 1)
    socket.emit('drain')
    socket.emit('close')
    expect(called).to.deep.equal(Array.from({ length: 20 }, (_, i) => i))
    expect(socket.listenerCount('drain')).to.equal(0)
    expect(socket.listenerCount('close')).to.equal(before)
  })

  it('calls it when the socket closes', () => {
    const socket = new PassThrough()
    let called = 0
    whenTaken(socket, 60_000, () => called++)
    socket.emit('close')
    expect(called).to.equal(1)
  })

  it('says when it was not in time, and forgets it then', async () => {
    const socket = new PassThrough()
    const called: boolean[] = []
    await new Promise<void>((resolve) => {
      whenTaken(socket, 1, (inTime) => {
        called.push(inTime)
        resolve()
      })
    })
    socket.emit('drain')
    expect(called).to.deep.equal([false])
  })

  it('does not call a function that was taken back, and takes another during a call', () => {
    const socket = new PassThrough()
    const called: string[] = []
    const back = whenTaken(socket, 60_000, () => called.push('back'))
    whenTaken(socket, 60_000, () => {
      called.push('first')
      whenTaken(socket, 60_000, () => called.push('second'))
    })
    back()
    socket.emit('drain')
    expect(called).to.deep.equal(['first'])
    socket.emit('drain')
    expect(called).to.deep.equal(['first', 'second'])
  })
})
