import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import * as asyncapi from '../lib/asyncapi/index.ts'
import * as client from '../lib/client/index.ts'
import * as streams from '../lib/client/streams.ts'
import * as koaws from '../lib/index.ts'
import * as inspector from '../lib/inspector/index.ts'
import * as otel from '../lib/otel/index.ts'
import * as prometheus from '../lib/prometheus/index.ts'
import * as testing from '../lib/testing/index.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const VALUES = [
  'AdapterError',
  'CloseCode',
  'Connection',
  'KoaWsError',
  'MessageError',
  'OptionsError',
  'UpgradeError',
  'accept',
  'bearer',
  'bySubprotocol',
  'default',
  'errorTable',
  'forward',
  'koaWs',
  'memoryAdapter',
  'messages',
  'protocol',
]
const TYPES = [
  'AcceptHandler',
  'AcceptOptions',
  'Adapter',
  'AdapterEvents',
  'AdapterLink',
  'AnsweredEvent',
  'AskOptions',
  'AttachOptions',
  'AttachableServer',
  'Audience',
  'BackplaneEvent',
  'BackplaneStatus',
  'BearerOptions',
  'CloseEvent',
  'CloseInfo',
  'CloseOptions',
  'ConnectionEvent',
  'ContextWs',
  'DefinitionOf',
  'DeflateOptions',
  'Delivery',
  'DropEvent',
  'EchoingLink',
  'Entry',
  'ErrorCode',
  'ErrorInfo',
  'ErrorPlace',
  'FloodOptions',
  'FromContext',
  'HandledEvent',
  'Handler',
  'HandlerContext',
  'HandlerOptions',
  'HeartbeatOptions',
  'HistoryEvents',
  'HistoryLimits',
  'HistoryMessage',
  'HistoryOptions',
  'HistoryQuery',
  'HistoryStore',
  'Hub',
  'HubStatus',
  'InstanceAnswer',
  'InstanceAnswers',
  'InstanceHandler',
  'KoaWsErrorInit',
  'KoaWsOptions',
  'LostEvent',
  'MaxQueued',
  'Member',
  'Members',
  'Message',
  'MessageErrorInit',
  'MessageEvent',
  'MessageFault',
  'MessageHandler',
  'MessageMiddleware',
  'Messages',
  'MessagesOptions',
  'Missing',
  'NewEntry',
  'OpenHistory',
  'OpenMessages',
  'OriginPolicy',
  'OriginPredicate',
  'Patterns',
  'Place',
  'PongEvent',
  'PresenceData',
  'PresenceOptions',
  'PresentMember',
  'Protocol',
  'ProtocolDefinition',
  'ProtocolEntry',
  'PublishedEvent',
  'Reading',
  'ReadyOptions',
  'RecordResult',
  'RecordedPosition',
  'RecoveryEvent',
  'Refresh',
  'RejectAs',
  'RejectClose',
  'RejectMode',
  'RejectOption',
  'Replay',
  'RequestOptions',
  'RoomHistory',
  'RoomSource',
  'RouteContext',
  'RouteMiddleware',
  'RouteParams',
  'RuleOptions',
  'SchemaIssue',
  'SchemaResult',
  'SendOptions',
  'Sendable',
  'SentAudience',
  'SentEvent',
  'ShutdownEvent',
  'SignalOptions',
  'SlowConsumerPolicy',
  'StandardSchema',
  'StreamsOptions',
  'SubprotocolChooser',
  'TraceFields',
  'TracedMessage',
  'TracedRequest',
  'Tracer',
  'UpgradeEvent',
  'UserLimit',
]
const STREAMS_VALUES = ['streams']
const CLIENT_VALUES = ['RequestError', 'connect', 'protocol']
const CLIENT_TYPES = [
  'Client',
  'ClientData',
  'ClientState',
  'ClientStream',
  'ClientType',
  'ConnectOptions',
  'DefinitionOf',
  'MessageTrace',
  'NotRecovered',
  'OpenConnection',
  'PresenceData',
  'PresentMember',
  'Protocol',
  'ProtocolDefinition',
  'PushData',
  'PushOptions',
  'PushResult',
  'QueueOptions',
  'Recovered',
  'Recovery',
  'RequestErrorInit',
  'RequestOptions',
  'Resync',
  'RoomPosition',
  'ServerType',
  'StreamOptions',
  'Token',
  'TokenSource',
  'Unrecovered',
  'UploadOptions',
  'WebSocketClass',
  'WebSocketLike',
]
const TESTING_VALUES = ['RejectedError', 'TestSocket', 'adapterSuite', 'fakeServer', 'testApp']
const TESTING_TYPES = [
  'AdapterFault',
  'AdapterSubject',
  'AdapterTest',
  'ConnectOptions',
  'FakeRequest',
  'FakeServer',
  'FakeServerOptions',
  'HistoryMessages',
  'MakeSubject',
  'PresentedPositions',
  'PushPlace',
  'ReceivedMessage',
  'RequestOptions',
  'TestApp',
  'TestResponse',
]

const ASYNCAPI_VALUES = ['asyncapi', 'checkContract']
const ASYNCAPI_TYPES = [
  'AsyncApiChannel',
  'AsyncApiDocument',
  'AsyncApiInfo',
  'AsyncApiMessage',
  'AsyncApiOperation',
  'AsyncApiOptions',
  'AsyncApiParameter',
  'AsyncApiReference',
  'AsyncApiSecurity',
  'AsyncApiServer',
  'ContractFinding',
  'JsonSchema',
  'JsonSchemaObject',
  'SchemaConverter',
  'SchemaPlace',
]

const INSPECTOR_VALUES = ['inspector']
const INSPECTOR_TYPES = [
  'ActionRequest',
  'AuditEvent',
  'InspectorAction',
  'InspectorOptions',
  'MeasuredApp',
]

const REDIS_VALUES = ['redisAdapter', 'redisEmitter']
const CLUSTER_VALUES = ['clusterAdapter']
const OTEL_VALUES = ['instrument']
const PROMETHEUS_VALUES = ['metrics']

/** The names after `export type {` of a file that only exports from others. */
function typesOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(/^export type \{([^}]*)\}/gm)]
    .flatMap(([, names]) => (names as string).split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .sort()
}

describe('the public names', () => {
  it('of koaws are these', () => {
    expect(Object.keys(koaws).sort()).to.deep.equal([...VALUES, 'module.exports'].sort())
    expect(typesOf('lib/index.ts')).to.deep.equal(TYPES)
    expect(koaws.default).to.equal(koaws.koaWs)
  })

  it('of koaws/client and koaws/client/streams are these', () => {
    expect(Object.keys(client).sort()).to.deep.equal(CLIENT_VALUES)
    expect(typesOf('lib/client/index.ts')).to.deep.equal(CLIENT_TYPES)
    expect(Object.keys(streams)).to.deep.equal(STREAMS_VALUES)
    expect(typesOf('lib/client/streams.ts')).to.deep.equal([])
  })

  it('of koaws/testing are these', () => {
    expect(Object.keys(testing).sort()).to.deep.equal(TESTING_VALUES)
    expect(typesOf('lib/testing/index.ts')).to.deep.equal(TESTING_TYPES)
  })

  it('of koaws/asyncapi are these', () => {
    expect(Object.keys(asyncapi).sort()).to.deep.equal(ASYNCAPI_VALUES)
    expect(typesOf('lib/asyncapi/index.ts')).to.deep.equal(ASYNCAPI_TYPES)
  })

  it('of koaws/otel and koaws/prometheus are these', () => {
    expect(Object.keys(otel)).to.deep.equal(OTEL_VALUES)
    expect(typesOf('lib/otel/index.ts')).to.deep.equal([
      ...['InstrumentOptions', 'ObservedConnection', 'ObservedHub'],
    ])
    expect(Object.keys(prometheus)).to.deep.equal(PROMETHEUS_VALUES)
    expect(typesOf('lib/prometheus/index.ts')).to.deep.equal([
      ...[
        'AnyRegistry',
        'MetricsMiddleware',
        'MetricsOptions',
        'ObservedConnection',
        'ObservedHub',
      ],
    ])
  })

  it('of koaws/inspector are these', () => {
    expect(Object.keys(inspector)).to.deep.equal(INSPECTOR_VALUES)
    expect(typesOf('lib/inspector/index.ts')).to.deep.equal(INSPECTOR_TYPES)
  })

  it('are reachable through these entry points only', () => {
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(Object.keys(exports)).to.deep.equal([
      '.',
      './client',
      './client/streams',
      './redis',
      './cluster',
      './otel',
      './prometheus',
      './inspector',
      './testing',
      './asyncapi',
      './package.json',
    ])
  })
})

describe('the built package', () => {
  before(() => {
    if (!existsSync(join(root, 'dist/index.js'))) throw new Error('npm run build comes first')
  })

  /** Runs a program without the loader of the tests, and parses its output. */
  function run(type: 'commonjs' | 'module', program: string): unknown {
    const { NODE_OPTIONS: _, ...env } = process.env
    const args = [`--input-type=${type}`, '-e', program]
    const output = execFileSync(process.execPath, args, {
      cwd: root,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'], // Node 20 warns of require(esm) outside of node_modules
    })
    return JSON.parse(output)
  }

  const names = 'Object.keys(m).filter((name) => name !== "__esModule").sort()'

  const entries = [
    '',
    'client',
    'client/streams',
    'testing',
    'asyncapi',
    'redis',
    'cluster',
    'otel',
    'prometheus',
  ]
    .map((name) => ['koaws', name].filter(Boolean).join('/'))
    .map((name) => JSON.stringify(name))
  const others = [
    ...[
      CLIENT_VALUES,
      STREAMS_VALUES,
      TESTING_VALUES,
      ASYNCAPI_VALUES,
      REDIS_VALUES,
      CLUSTER_VALUES,
    ],
    ...[OTEL_VALUES, PROMETHEUS_VALUES],
  ]

  // One process loads all entries: the start of a process takes longer than the test.
  it('can be imported by name', () => {
    const loads = entries.map((name) => `await import(${name})`)
    const program = `console.log(JSON.stringify([${loads}].map((m) => ${names})))`
    expect(run('module', program)).to.deep.equal([[...VALUES, 'module.exports'].sort(), ...others])
  })

  it('can be required by name, because no file awaits at the top level', () => {
    const loads = entries.map((name) => `require(${name})`)
    const program = `console.log(JSON.stringify([${loads}].map((m) => ${names})))`
    expect(run('commonjs', program)).to.deep.equal([VALUES, ...others])
  })

  it('is a function with every name as a property when it is required', () => {
    const program = `
      const koaWs = require('koaws')
      const { koaWs: named, accept } = koaWs
      const hubs = [koaWs(), named({}), koaWs.default()]
      console.log(JSON.stringify([typeof koaWs, typeof accept, ...hubs.map((hub) => hub.status().ready)]))`
    expect(run('commonjs', program)).to.deep.equal(['function', 'function', true, true, true])
  })

  it('is one instance, imported or required', () => {
    const program = `
      const required = require('koaws')
      import('koaws').then((imported) => console.log(JSON.stringify(
        ${JSON.stringify(VALUES)}.filter((name) => imported[name] !== required[name]))))`
    expect(run('commonjs', program)).to.deep.equal([])
  })

  it('loads without koa, which a front end does not install', () => {
    const program = `
      import { register } from 'node:module'
      register('data:text/javascript,' + encodeURIComponent(
        'export const resolve = (name, context, next) => { if (name === "koa") throw new Error("koa"); return next(name, context) }'))
      const failed = []
      for (const name of ['', '/client', '/testing', '/redis', '/cluster', '/otel', '/prometheus', '/inspector', '/asyncapi'])
        await import('koaws' + name).catch(({ message }) => failed.push(name + ': ' + message))
      console.log(JSON.stringify(failed))`
    expect(run('module', program)).to.deep.equal([])
  })

  it('shows its package.json and hides its files', () => {
    const program = `
      const code = (name) => { try { require(name); return null } catch (error) { return error.code } }
      console.log(JSON.stringify([require('koaws/package.json').name, code('koaws/dist/debug.js'), code('koaws/lib/debug.ts')]))`
    const hidden = 'ERR_PACKAGE_PATH_NOT_EXPORTED'
    expect(run('commonjs', program)).to.deep.equal(['koaws', hidden, hidden])
  })

  it('adds no listener, timer or subscription when it is loaded', () => {
    const program = `
      import { channel } from 'node:diagnostics_channel'
      await import('koaws')
      console.log(JSON.stringify([
        channel('http.server.request.start').hasSubscribers,
        process.eventNames().filter((name) => /^SIG|exception|rejection/i.test(String(name))),
        process.getActiveResourcesInfo().filter((name) => name === 'Timeout'),
      ]))`
    expect(run('module', program)).to.deep.equal([false, [], []])
  })

  it('has a JavaScript file and a declaration file for each source', () => {
    const stems = (folder: string, ending: string): string[] =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith(ending))
        .map((name) => name.slice(0, -ending.length))
        .sort()
    const sources = stems('lib', '.ts')
    // The bundles of lib/client, and the script of the inspector's page.
    const scripts = ['koaws-client', 'koaws-client-streams', 'inspector/page/inspector']
    expect(stems('dist', '.js').filter((stem) => !scripts.includes(stem))).to.deep.equal(sources)
    expect(stems('dist', '.d.ts')).to.deep.equal(sources)
  })
})
