-- The funnels, summed at publishing from the tallies of the files (`analyst_tallies.sql`, which says what a quarter is);
-- people who answered and tapped are counted here. The variable `zone` is the time zone of `day`.

CREATE TEMP TABLE counted AS
SELECT campaign, step, what, quarter, sum(n) AS n
FROM tallies
WHERE campaign IS NOT NULL  -- what people sent by hand is in no funnel
    AND what NOT IN ('control', 'ended')
GROUP BY ALL;

CREATE TEMP TABLE answers AS
SELECT DISTINCT campaign, step, contact_id, (replied_at AT TIME ZONE getvariable('zone'))::DATE AS day
FROM replies WHERE campaign IS NOT NULL AND NOT late AND kind <> 'reaction';

CREATE TEMP TABLE taps AS
SELECT DISTINCT campaign, step, contact_id, (clicked_at AT TIME ZONE getvariable('zone'))::DATE AS day FROM clicks;

CREATE TEMP TABLE days AS
SELECT quarter, (make_timestamptz(quarter * 900000000) AT TIME ZONE getvariable('zone'))::DATE AS day
FROM (SELECT DISTINCT quarter FROM tallies WHERE quarter IS NOT NULL);

INSERT INTO campaign_funnel BY NAME
SELECT
    campaign,
    sum(if(what = 'entered', n, 0)) AS entered,
    sum(if(what = 'planned', n, 0)) AS planned,
    sum(if(what = 'skipped', n, 0)) AS skipped,
    sum(if(what = 'accepted', n, 0)) AS accepted,
    sum(if(what = 'delivered', n, 0)) AS delivered,
    sum(if(what = 'read', n, 0)) AS read,
    sum(if(what = 'replied', n, 0)) AS replied,
    sum(if(what = 'clicked', n, 0)) AS clicked,
    sum(if(what = 'failed', n, 0)) AS failed,
    sum(if(what = 'unknown', n, 0)) AS unknown
FROM (
    SELECT campaign, what, n FROM counted
    UNION ALL
    SELECT campaign, 'replied', count(DISTINCT contact_id) FROM answers GROUP BY ALL
    UNION ALL
    SELECT campaign, 'clicked', count(DISTINCT contact_id) FROM taps GROUP BY ALL
)
GROUP BY campaign ORDER BY campaign;

INSERT INTO step_funnel BY NAME
SELECT
    campaign,
    step,
    sum(if(what = 'arrived', n, 0)) AS entered,
    sum(if(what = 'planned', n, 0)) AS planned,
    sum(if(what = 'skipped', n, 0)) AS skipped,
    sum(if(what = 'accepted', n, 0)) AS accepted,
    sum(if(what = 'delivered', n, 0)) AS delivered,
    sum(if(what = 'read', n, 0)) AS read,
    sum(if(what = 'replied', n, 0)) AS replied,
    sum(if(what = 'clicked', n, 0)) AS clicked,
    sum(if(what = 'failed', n, 0)) AS failed,
    sum(if(what = 'unknown', n, 0)) AS unknown
FROM (
    SELECT campaign, step, what, n FROM counted WHERE step IS NOT NULL
    UNION ALL
    SELECT campaign, step, 'replied', count(DISTINCT contact_id) FROM answers WHERE step IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT campaign, step, 'clicked', count(DISTINCT contact_id) FROM taps GROUP BY ALL
)
GROUP BY campaign, step ORDER BY campaign, step;

INSERT INTO campaign_daily BY NAME
SELECT
    campaign,
    day,
    sum(if(what = 'entered', n, 0)) AS entered,
    sum(if(what = 'planned', n, 0)) AS planned,
    sum(if(what = 'skipped', n, 0)) AS skipped,
    sum(if(what = 'accepted', n, 0)) AS accepted,
    sum(if(what = 'delivered', n, 0)) AS delivered,
    sum(if(what = 'read', n, 0)) AS read,
    sum(if(what = 'replied', n, 0)) AS replied,
    sum(if(what = 'clicked', n, 0)) AS clicked,
    sum(if(what = 'failed', n, 0)) AS failed,
    sum(if(what = 'unknown', n, 0)) AS unknown
FROM (
    SELECT campaign, day, what, n FROM counted JOIN days USING (quarter)
    UNION ALL
    SELECT campaign, day, 'replied', count(DISTINCT contact_id) FROM answers GROUP BY ALL
    UNION ALL
    SELECT campaign, day, 'clicked', count(DISTINCT contact_id) FROM taps GROUP BY ALL
)
GROUP BY campaign, day ORDER BY campaign, day;
