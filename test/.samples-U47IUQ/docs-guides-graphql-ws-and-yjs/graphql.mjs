// graphql.mjs
import Router from '@koa/router'
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import Koa from 'koa'
import koaWs, { accept, forward } from 'koaws'
import { WebSocketServer } from 'ws'

const hello = { type: GraphQLString, resolve: (_source, _args, { user }) => `hello ${user}` }
const counted = {
  type: GraphQLString,
  async *subscribe() {
    for (const n of ['one', 'two', 'three']) yield { counted: n }
  },
}
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { hello } }),
  subscription: new GraphQLObjectType({ name: 'Subscription', fields: { counted } }),
})

const wss = new WebSocketServer({ noServer: true })
useServer({ schema, context: ({ extra }) => ({ user: extra.socket.userId }) }, wss)

const app = new Koa()
app.use(koaWs({ user: (ctx) => ctx.query.user })) // for this sample alone: take it from a token
const router = new Router()
router.get('/graphql', accept(forward(wss)))
app.use(router.routes())
app.listen(process.env.PORT ?? 3000)
