// Loaded before a server: tells the parent process the port that the server got.
import { Server } from 'node:net'

const { listen } = Server.prototype
Server.prototype.listen = function (...args) {
  this.once('listening', () => {
    const { port } = this.address() // a Unix socket has a path
    if (port) process.send(port)
  })
  return listen.apply(this, args)
}
