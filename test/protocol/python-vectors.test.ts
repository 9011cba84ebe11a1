import { expect } from 'chai'
import { needs, pathOf } from '../support/programs.ts'
import { testClient } from './support/client-run.ts'
import { PythonProcess } from './support/python.ts'

describe('examples/clients/koaws_client.py and docs/protocol-vectors.json', () => {
  needs("Python's websockets")
  let python: PythonProcess

  before(() => {
    python = new PythonProcess(pathOf("Python's websockets"))
  })

  after(async () => {
    await python?.stop()
    expect(python?.complaints ?? '').to.equal('')
  })

  testClient(async (url, app) => python.client(url, app), ['3.7', '3.8'])
})
