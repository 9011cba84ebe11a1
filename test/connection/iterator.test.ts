import { expect } from 'chai'
import { cleanUp, deferred, eventually, turn } from '../support/server.ts'
import { connected } from './support/connected.ts'

describe('a connection', () => {
  afterEach(cleanUp)

  describe('as an async iterator', () => {
    it('yields strings and Buffers in order, and ends with the connection', async () => {
      const seen: unknown[] = []
      const over = deferred()
      const { socket } = await connected(async (connection) => {
        for await (const message of connection) seen.push(message)
        over.resolve()
      })
      socket.send('a')
      socket.send(Buffer.from('b'))
      socket.send('c')
      socket.close()
      await over.promise
      expect(seen).to.deep.equal(['a', Buffer.from('b'), 'c'])
    })

    it('closes the TCP window while the loop is busy, and yields every message', async () => {
      const release = deferred()
      const total = 400
      const size = 64 * 1024
      const done = deferred<number>()
      const { socket, connection } = await connected(async (connection) => {
        let count = 0
        for await (const message of connection) {
          if (count++ === 0) await release.promise
          expect(message.length).to.equal(size)
          if (count === total) done.resolve(count)
        }
      })
      for (let i = 0; i < total; i++) socket.send(Buffer.alloc(size))
      await eventually(() => connection.isPaused, 'the pause')
      for (let i = 0; i < 50; i++) await turn()
      expect(socket.bufferedAmount).to.be.above(1024 * 1024)
      release.resolve()
      expect(await done.promise).to.equal(total)
    })

    it('removes its listener on break, rejects a second loop, and can start again', async () => {
      const results: unknown[] = []
      const { socket, connection } = await connected(async (connection) => {
        for await (const message of connection) {
          expect(() => connection[Symbol.asyncIterator]()).to.throw(
            'already has a "for await" loop',
          )
          results.push(message)
          break
        }
        results.push(connection.listenerCount('message'))
        for await (const message of connection) results.push(message)
        results.push('over')
      })
      socket.send('a')
      await eventually(() => results.length === 2)
      socket.send('b')
      await eventually(() => results.length === 3)
      socket.close()
      await connection.closed
      await eventually(() => results.length === 4)
      expect(results).to.deep.equal(['a', 0, 'b', 'over'])
    })

    it('ends at once for a closed connection', async () => {
      const { socket, connection } = await connected()
      socket.close()
      await connection.closed
      for await (const _ of connection) throw new Error('a message')
    })
  })
})
