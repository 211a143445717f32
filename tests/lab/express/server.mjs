// A web application on loopback whose sessions lie in Redis: express, express-session and
// connect-redis, as their manuals put them together.
//
//   node server.mjs NODE_MODULES REDIS_URL
//
// Prints `ready ADDRESS` once it listens on a port that the system chose, and ends when its
// standard input ends. Everything in it is made up.
//
//   GET  /me            {"user": NAME}, or 401 {"error": "login"}
//   GET  /home          a page for everybody: it names the user, and holds the sign-out's token
//   POST /login         username, password, remember -> a session, and a remember-me cookie if asked
//   POST /logout        needs the header X-CSRF-Token; ends the session and the remembered sign-in
//   POST /logout-lies   says the same and ends nothing
//   POST /logout-hands  ends the session and hands out another one that is signed in
//   POST /logout-hangs  never answers
//   POST /everywhere    ends every session of the user
//   GET  /renews        like /me, and hands out a second session of the same user
//   GET  /home-copies   like /home, and hands out a copy of the session, its token included
//   GET  /home-renews   like /home, and hands out a second session: the token is that one's
//   GET  /home-replaces like /home, and hands out another session instead of the one shown
//   GET  /hidden        like /me, and 404 to a visitor without a session
//   GET  /forbidden     403 to everybody
//   GET  /anybody       says who is asked for, whoever asks
import { createServer } from 'node:http';
import { createHash, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const require = createRequire(join(resolve(process.argv[2] ?? 'node_modules'), 'none.js'));
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

const redis = await createClient({ url: process.argv[3] }).connect();
const app = express();
app.use(express.urlencoded({ extended: false }), express.json());
app.use(
  session({
    store: new RedisStore({ client: redis }),
    secret: 'a-made-up-signing-key-of-the-lab',
    resave: false,
    saveUninitialized: false,
    rolling: true,
  }),
);

const random = () => randomBytes(16).toString('base64');
const digest = (text) => createHash('sha256').update(text).digest('hex');
const remembered = (request) => /(?:^|; )remember=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
const enter = async (request, user) => {
  await new Promise((done, failed) =>
    request.session.regenerate((error) => (error ? failed(error) : done())),
  );
  request.session.user = user;
  request.session.csrf = random();
  await new Promise((done, failed) =>
    request.session.save((error) => (error ? failed(error) : done())),
  );
};

// A visitor without a session who shows a remembered sign-in gets a new session.
app.use(async (request, response, next) => {
  const token = remembered(request);
  if (!request.session.user && token) {
    const user = await redis.get(`remember:${digest(token)}`);
    if (user) await enter(request, user);
  }
  next();
});
const nobody = (response) => response.status(401).json({ error: 'login' });
const mayLeave = (request) =>
  request.session.user && request.get('x-csrf-token') === request.session.csrf;

app.get('/me', (request, response) =>
  request.session.user ? response.json({ user: request.session.user }) : nobody(response),
);
const home = (request, response) => {
  const { user, csrf } = request.session;
  response.send(
    user
      ? `<meta content="${csrf.replaceAll('+', '&#43;')}" name="csrf-token"><p>Hello, ${user}</p>`
      : '<p>Hello</p><form action="/login" method="post"><input name="username"></form>',
  );
};
app.get('/home', home);
app.post('/login', async (request, response) => {
  const { username, password, remember } = request.body ?? {};
  if (password !== `${username}-made-up-password-of-the-lab`) return nobody(response);
  await enter(request, username);
  if (remember) {
    const token = randomBytes(20).toString('hex');
    await redis.set(`remember:${digest(token)}`, username);
    response.cookie('remember', token, { maxAge: 14 * 24 * 3600 * 1000, httpOnly: true });
  }
  response.redirect(303, '/me');
});
app.post('/logout', async (request, response) => {
  if (!mayLeave(request)) return response.status(403).json({ error: 'csrf' });
  const token = remembered(request);
  if (token) await redis.del(`remember:${digest(token)}`);
  request.session.destroy(() => response.clearCookie('connect.sid').redirect(303, '/home'));
});
app.post('/logout-lies', (request, response) => response.redirect(303, '/home'));
app.post('/logout-hands', async (request, response) => {
  // Once: whoever signs out of what was handed out is gone.
  const { user, handed } = request.session;
  if (!user) return nobody(response);
  if (handed) return request.session.destroy(() => response.redirect(303, '/home'));
  await enter(request, user);
  request.session.handed = true;
  response.redirect(303, '/home');
});
app.post('/logout-hangs', () => {});
app.post('/everywhere', async (request, response) => {
  if (!mayLeave(request)) return response.status(403).json({ error: 'csrf' });
  for await (const keys of redis.scanIterator({ MATCH: 'sess:*' })) {
    for (const key of keys) {
      const held = JSON.parse((await redis.get(key)) ?? '{}');
      if (held.user === request.session.user) await redis.del(key);
    }
  }
  request.session.destroy(() => response.redirect(303, '/home'));
});
// The one that was shown stays: `regenerate` would end it.
const second = async (request, csrf) => {
  const { user } = request.session;
  await new Promise((saved) => request.session.save(saved));
  request.sessionStore.generate(request);
  Object.assign(request.session, { user, csrf });
};
const known = (request, response, next) => (request.session.user ? next() : nobody(response));
app.get('/renews', known, async (request, response) => {
  await second(request, random());
  response.json({ user: request.session.user });
});
app.get('/home-copies', known, async (request, response) => {
  await second(request, request.session.csrf);
  home(request, response);
});
app.get('/home-renews', known, async (request, response) => {
  await second(request, random());
  home(request, response);
});
app.get('/home-replaces', known, async (request, response) => {
  await enter(request, request.session.user);
  home(request, response);
});
app.get('/hidden', (request, response) =>
  request.session.user
    ? response.json({ user: request.session.user, session: request.sessionID })
    : response.status(404).end(),
);
app.get('/forbidden', (request, response) => response.status(403).end());
app.get('/anybody', (request, response) => response.json({ user: 'mail' }));

const server = createServer(app);
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
// Whoever waited for `ready` may have stopped reading.
process.stdout.on('error', () => {});
redis.on('error', () => {});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
console.log(`ready http://127.0.0.1:${server.address().port}`);
