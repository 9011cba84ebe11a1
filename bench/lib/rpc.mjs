/** The child's side: it takes commands over IPC and gives one answer each. */
export function serve(commands) {
  process.on('message', async ({ id, command, args }) => {
    try {
      process.send({ id, result: await commands[command](args ?? {}) })
    } catch (error) {
      process.send({ id, error: error?.stack ?? String(error) })
    }
  })
  process.on('disconnect', () => process.exit(0))
}
