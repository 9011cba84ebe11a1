import { closeChat, openChat, runChat } from './load-chat.mjs'
import { closeEcho, openEcho, runEcho } from './load-echo.mjs'
import { handshakes } from './load-handshake.mjs'
import { broadcastOver, dropOver, echoOver, idleOver, openOver } from './load-http2.mjs'
import { dropIdle, idleState, openIdle } from './load-idle.mjs'
import { closeMessages, openMessages, runMessages } from './load-messages.mjs'
import { closeStreams, openStreams, runStreams } from './load-streams.mjs'
import { serve } from './rpc.mjs'

serve({
  handshakes,
  openEcho,
  runEcho,
  closeEcho,
  openIdle,
  idleState,
  dropIdle,
  openMessages,
  runMessages,
  closeMessages,
  openChat,
  runChat,
  closeChat,
  openStreams,
  runStreams,
  closeStreams,
  openOver,
  echoOver,
  broadcastOver,
  idleOver,
  dropOver,
})
