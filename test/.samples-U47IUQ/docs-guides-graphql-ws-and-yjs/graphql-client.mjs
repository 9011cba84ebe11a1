// graphql-client.mjs
import { createClient } from 'graphql-ws'
import { WebSocket } from 'ws'

const url = `ws://localhost:${process.env.PORT ?? 3000}/graphql?user=ann`
const client = createClient({ url, webSocketImpl: WebSocket })

for await (const { data } of client.iterate({ query: '{ hello }' })) console.log(data.hello)
for await (const { data } of client.iterate({ query: 'subscription { counted }' })) console.log(data.counted)
await client.dispose()
