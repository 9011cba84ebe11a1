// make-server.mjs
import Router from '@koa/router'
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { makeServer } from 'graphql-ws'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'

const hello = { type: GraphQLString, resolve: (_source, _args, { room }) => `hello from ${room}` }
const schema = new GraphQLSchema({ query: new GraphQLObjectType({ name: 'Query', fields: { hello } }) })
const graphql = makeServer({ schema, context: ({ extra }) => ({ room: extra.params.room }) })

function speakGraphql(connection) {
  const socket = {
    protocol: connection.protocol,
    send: (text) => new Promise((done, failed) => {
      connection.send(text, (error) => (error ? failed(error) : done()))
    }),
    close: (code, reason) => connection.close(code, reason),
    onMessage: (listener) => {
      connection.on('message', (data) => listener(data.toString())) // a rejection closes with 1011
    },
  }
  const closed = graphql.opened(socket, connection)
  connection.once('close', (code, reason) => closed(code, reason.toString()))
}

const app = new Koa()
app.use(koaWs())
const router = new Router()
router.get('/graphql/:room', accept(speakGraphql, { subprotocol: 'graphql-transport-ws' }))
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
