// Which pictures nginx may send: those whose address graphql_server/addresses.py signed with one of the same keys.
import crypto from 'crypto';

const KEYS = (process.env.MEDIA_SIGNING_KEY || '').split(',').map((key) => key.trim()).filter((key) => key);
// Folders that start with a dot, such as the one for unfinished uploads, are no place for pictures.
const PICTURE = /^\/media\/([0-9]{1,19}\/[0-9a-f-]{36}\.(jpg|png|webp))$/;
const EXPIRES = /^[0-9]{1,12}$/;

function serve(r) {
    if (r.method !== 'GET' && r.method !== 'HEAD') {
        r.headersOut.Allow = 'GET, HEAD';
        return refuse(r, 405, 'METHOD_NOT_ALLOWED', 'Pictures are for GET and HEAD.');
    }
    const picture = PICTURE.exec(r.uri);
    // For njs $ also stands before a line end.
    if (!picture || picture[0] !== r.uri) {
        return gone(r);
    }
    if (!isSigned(picture[1], r.args.expires, r.args.signature)) {
        return refuse(r, 403, 'FORBIDDEN', 'This address is not signed by this server.');
    }
    const seconds = Number(r.args.expires) - Math.floor(Date.now() / 1000);
    if (seconds <= 0) {
        return refuse(r, 410, 'URL_EXPIRED', 'This address has expired; ask for a new one.');
    }
    r.variables.media_cache = `private, max-age=${seconds}, immutable`;
    r.internalRedirect(`/media/.verified/${picture[1]}`);
}

function gone(r) {
    r.variables.media_cache = 'no-store';
    refuse(r, 404, 'NOT_FOUND', 'There is no such picture.');
}

function refuse(r, status, code, message) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify({ errors: [{ message, extensions: { code } }] }));
}

function isSigned(path, expires, signature) {
    // An argument that is sent twice is an array.
    if (typeof expires !== 'string' || typeof signature !== 'string' || !EXPIRES.test(expires)) {
        return false;
    }
    return KEYS.some((key) => isSame(sign(key, `${path}\n${expires}`), signature));
}

function sign(key, text) {
    return crypto.createHmac('sha256', key).update(text).digest('base64url');
}

// Takes as long for a wrong signature as for a right one.
function isSame(right, sent) {
    let difference = right.length ^ sent.length;
    for (let i = 0; i < right.length; i++) {
        difference |= right.charCodeAt(i) ^ sent.charCodeAt(i);
    }
    return difference === 0;
}

export default { serve, gone };
